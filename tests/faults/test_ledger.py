"""The ledger finds what is lost, repeated, damaged or strange; otherwise its silence would mean nothing."""

import pytest
from tests.faults.ledger import Ledger, Verdict, is_whole, message, token_of

ANN = "ann@example.org"
TRACE = b"Return-Path: <x@ledger.test>\r\nReceived: from a\r\n by b; now\r\n"


@pytest.fixture
def ledger() -> Ledger:
    """One acknowledged message, one offered only, one never offered."""
    made = Ledger("run")
    for _ in range(3):
        made.open(ANN)
    made.offer("run-00001")
    made.acknowledge("run-00001", 1)
    made.offer("run-00002")
    return made


def stored(number: int) -> bytes:
    return TRACE + message(f"run-{number:05}", "x@ledger.test", ANN)


def test_a_message_carries_its_token_and_proves_itself_whole() -> None:
    assert token_of(stored(1)) == "run-00001"
    assert is_whole(stored(1))
    assert not is_whole(stored(1).replace(b"must not", b"must now"))
    assert not is_whole(stored(1)[:-10])
    assert token_of(b"Subject: nothing of ours\r\n\r\n") is None


@pytest.mark.parametrize(
    ("contents", "verdict"),
    [
        ([stored(1)], Verdict()),
        ([stored(1), stored(2)], Verdict()),
        ([stored(2)], Verdict(lost=["run-00001"])),
        ([stored(1), stored(1)], Verdict(repeated=["run-00001"])),
        ([stored(1), stored(2), stored(2)], Verdict(repeated=["run-00002"])),
        ([stored(1), stored(3)], Verdict(unknown=["run-00003"])),
        ([stored(1), stored(4)], Verdict(unknown=["run-00004"])),
        ([stored(1).replace(b"lost", b"last")], Verdict(damaged=["run-00001"])),
    ],
)
def test_mailboxes_are_judged(ledger: Ledger, contents: list[bytes], verdict: Verdict) -> None:
    found = ledger.judge({ANN: contents})
    assert found == verdict
    assert found.is_clean == (verdict == Verdict())


def test_a_message_in_the_wrong_mailbox_is_unknown_there_and_lost_here(ledger: Ledger) -> None:
    assert ledger.judge({ANN: [], "bob@example.org": [stored(1)]}) == Verdict(lost=["run-00001"], unknown=["run-00001"])


def test_acknowledgements_are_counted_by_node(ledger: Ledger) -> None:
    assert [entry.token for entry in ledger.acknowledged()] == ["run-00001"]
    assert ledger.acknowledged(node=2) == []
    ledger.wait(1)
    with pytest.raises(AssertionError, match="only 1 of 2"):
        ledger.wait(2, seconds=0)


@pytest.mark.parametrize(
    ("contents", "verdict"),
    [
        ([b"a", b"a", TRACE + b"b"], Verdict()),
        ([b"a", b"a", b"b", b"c"], Verdict()),
        ([b"a", b"b"], Verdict(lost=["run-00001"])),
        ([b"a", b"a", b"a", b"b"], Verdict(repeated=["run-00001"])),
        ([b"a", b"a", b"b", b"c", b"c"], Verdict(repeated=["run-00004"])),
        ([b"a", b"a", b"b", b"d"], Verdict(unknown=["b'd'"])),
        ([b"a", b"a", TRACE + TRACE + b"b"], Verdict(lost=["run-00003"], unknown=[repr(TRACE + TRACE + b"b")])),
    ],
)
def test_messages_without_a_token_are_counted_by_content(contents: list[bytes], verdict: Verdict) -> None:
    """Two equal ones and a third are acknowledged, a fourth is offered, a fifth never was."""
    ledger = Ledger("run")
    for content in (b"a", b"a", b"b", b"c", b"d"):
        token = ledger.open(ANN)
        if content != b"d":
            ledger.offer(token, content)
        if content in (b"a", b"b"):
            ledger.acknowledge(token, 1)
    assert ledger.compare({ANN: contents}) == verdict
