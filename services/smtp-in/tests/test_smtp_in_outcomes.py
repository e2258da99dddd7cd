"""What becomes of a letter for a recipient, as a table."""

from dataclasses import replace
from uuid import UUID

import pytest

from posthorn_model.ids import AccountId
from posthorn_smtp_in.letter import Letter
from posthorn_smtp_in.outcomes import Outcome, outcomes_of
from posthorn_smtp_in.protocol.commands import Mail, Rcpt
from posthorn_smtp_in.protocol.requests import Requests
from posthorn_smtp_in.recipients import Recipient

NOBODY = Recipient(Rcpt("to@example.org"), (), "")
ANN = (AccountId(1),)


def letter(mail: Mail) -> Letter:
    return Letter(UUID(int=1), mail, (), b"", b"", None)


@pytest.mark.parametrize(
    ("to", "outcomes"),
    [
        (replace(NOBODY, accounts=ANN), (Outcome.MAILBOX,)),
        (replace(NOBODY, site="example.net"), (Outcome.QUEUE,)),
        (replace(NOBODY, lists=("news@example.org",)), (Outcome.LIST,)),
        (replace(NOBODY, remote=("ann@example.net",)), (Outcome.FORWARD,)),
        (
            replace(NOBODY, accounts=ANN, remote=("ann@example.net",), lists=("news@example.org",)),
            (Outcome.LIST, Outcome.FORWARD, Outcome.MAILBOX),
        ),
    ],
    ids=["mailbox", "site", "list", "forward", "group"],
)
def test_what_is_held_waits_whoever_it_is_for(to: Recipient, outcomes: tuple[Outcome, ...]) -> None:
    plain = Mail("eve@example.net")
    assert outcomes_of(letter(plain), to) == outcomes
    held = replace(plain, requests=Requests(hold_for=60))
    assert outcomes_of(letter(held), to) == (Outcome.HELD,)
