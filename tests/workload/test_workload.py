"""The random workload in short, with a kill -9 in its middle; `make imap-run` has it as long as wished."""

import os
import secrets
from pathlib import Path

import pytest
from tests.workload.run import Plan, play

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


async def test_ten_clients_on_three_nodes_see_nothing_that_cannot_be(postgres_dsn: str, tmp_path: Path) -> None:
    seed = int(os.environ.get("POSTHORN_TEST_SEED") or secrets.randbelow(1_000_000))
    print(f"seed {seed}")
    truth = await play(postgres_dsn, tmp_path, Plan(seconds=15, seed=seed, kills=1))
    for what in ("views checked", "mirrors checked", "flags seen", "connections lost", "clients that agree"):
        assert truth.counts[what], f"nothing was tried: {what}"
