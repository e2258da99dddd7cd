"""The great run in short; `make faults` has it as long as wished, and with three of each service."""

import os
import secrets

import pytest
from tests.faults.great import GreatRun

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.instances import instances
from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.cluster, pytest.mark.timeout(600)]


SHORT = ("smtp-in", "smtp-out", "imap", "jmap", "maintenance")
"""Without dav, through which nothing of the load passes."""


def test_a_minute_of_everything_at_once_loses_nothing() -> None:
    seed = int(os.environ.get("POSTHORN_TEST_SEED") or secrets.randbelow(1_000_000))
    try:
        with instances() as cluster:
            tally = GreatRun(cluster, seed, each=2, services=SHORT).run(
                60, scaled="smtp-in", rolled=("imap", "smtp-out")
            )
    except PartError as error:
        missing(str(error))
    assert tally.messages
    assert tally.sent_out
    assert tally.changes
    assert tally.owners
