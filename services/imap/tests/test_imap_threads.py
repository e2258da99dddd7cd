"""Sorting keys and threads as pure functions: the algorithms of RFC 5256, known answers and hostile mailboxes."""

from datetime import UTC, datetime

import pytest

from posthorn_imap.protocol import thread_references
from posthorn_imap.protocol.sort_keys import Criterion, SortKey, merged, packed
from posthorn_imap.protocol.thread_references import TooEntangled, by_references
from posthorn_imap.protocol.threads import Forest, ThreadFacts, ordered_subject, write_threads

SIZE, SUBJECT = Criterion(SortKey.SIZE), Criterion(SortKey.SUBJECT)


def message(
    number: int, names: str = "", subject: str = "", *, named: str | None = None, at: int | None = None
) -> ThreadFacts:
    """A message named by its number, with a reply's subject when it begins with "Re:"."""
    base = subject.removeprefix("Re: ").upper().encode()
    own = f"{number}" if named is None else named or None
    return ThreadFacts(number, number if at is None else at, base, subject.startswith("Re:"), own, tuple(names.split()))


def written(forest: Forest) -> str:
    return write_threads(forest, lambda number: number).decode()


def referred(*messages: ThreadFacts) -> str:
    return written(by_references(messages))


def test_the_order_of_keys() -> None:
    values = {1: (5, b"B"), 2: (5, b"A"), 3: (4, b"AB"), 4: (5, b"A")}
    pages = [sorted(packed(uid, values[uid], (SIZE, SUBJECT)) for uid in page) for page in ((1, 2), (3, 4))]
    assert merged(pages) == [3, 2, 4, 1]


@pytest.mark.parametrize(
    ("values", "order"),
    [
        ((b"", b"A", b"AB", b"B"), [4, 3, 2, 1]),
        ((1, -1, 2**40, 0), [3, 1, 4, 2]),
        ((b"A", b"A", b"B", b"A"), [3, 1, 2, 4]),
        (tuple(datetime(2024, 1, day, tzinfo=UTC) for day in (2, 1, 4, 3)), [3, 4, 1, 2]),
        ((b"A\0Z", b"AZ", b"B", b"A"), [3, 1, 2, 4]),
    ],
    ids=["prefixes", "numbers", "ties go by UID all the same", "dates", "NUL"],
)
def test_reverse(values: tuple[bytes | int, ...], order: list[int]) -> None:
    keys = [packed(uid, [value], [Criterion(SortKey.SIZE, reverse=True)]) for uid, value in enumerate(values, 1)]
    assert merged([sorted(keys)]) == order


def test_ordered_subject() -> None:
    facts = [message(1, subject="b"), message(2, subject="a"), message(3, subject="Re: b"), message(4, subject="a"),
             message(5, subject="b", at=0), message(6)]  # fmt: skip
    assert written(ordered_subject(facts)) == "(5 (1)(3))(2 4)(6)"


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        ([], ""),
        ([message(1), message(2)], "(1)(2)"),
        ([message(1), message(2, "1"), message(3, "1 2"), message(4, "1")], "(1 (2 3)(4))"),
        ([message(3, "1 2"), message(4, "1")], "((3)(4))"),
        ([message(3, "1 2")], "(3)"),
        ([message(1), message(3, "1 2"), message(4, "1 2")], "(1 (3)(4))"),
        ([message(1, "2"), message(2, "1")], "(2 1)"),
        ([message(1, "1"), message(2, "2 2 1")], "(2 1)"),
        ([message(1), message(2, "1"), message(3, "1", named="2"), message(4, "2")], "(1 (2 4)(3))"),
        ([message(1, named=""), message(2, named="")], "(1)(2)"),
        # What another message's truncated References said gives way to what the message says itself.
        ([message(1), message(2, "1 3"), message(3), message(4, "3")], "(1)(3 (2)(4))"),
        ([message(1, at=9), message(2, at=1), message(3, "1", at=0)], "(2)(1 3)"),
    ],
    ids=[
        "none", "apart", "a tree", "siblings below a dummy", "a dummy with one child goes", "promoted below a message",
        "a loop of two", "named itself", "the same Message-ID twice", "no Message-ID", "own references win", "by date",
    ],
)  # fmt: skip
def test_references(messages: list[ThreadFacts], threads: str) -> None:
    assert referred(*messages) == threads


@pytest.mark.parametrize(
    ("messages", "threads"),
    [
        ([message(1, subject="a"), message(2, subject="Re: a")], "(1 2)"),
        ([message(1, subject="Re: a"), message(2, subject="a")], "(2 1)"),
        ([message(1, subject="a"), message(2, subject="a")], "((1)(2))"),
        ([message(1, subject="Re: a"), message(2, subject="Re: a"), message(3, subject="Re: a")], "((1)(2)(3))"),
        ([message(1), message(2)], "(1)(2)"),
        ([message(1, "x", "a"), message(2, "x", "b"), message(3, subject="a")], "((1)(2)(3))"),
        ([message(1, "x", "a"), message(2, "x"), message(3, "y", "a"), message(4, "y")], "((1)(2)(3)(4))"),
        ([message(1, subject="a"), message(2, "1", "b"), message(3, subject="Re: a")], "(1 (2)(3))"),
        ([message(1, subject="Re: a"), message(2, "1", "Re: a"), message(3, subject="a")], "(3 1 2)"),
        ([message(1, subject="a"), message(2, subject="a"), message(3, subject="Re: a")], "((1)(2)(3))"),
    ],
    ids=[
        "a reply", "an early reply", "two of one subject", "replies alone", "empty subjects", "below a dummy",
        "two dummies", "beside children", "a thread below its origin", "both at a dummy",
    ],
)  # fmt: skip
def test_subjects_are_merged(messages: list[ThreadFacts], threads: str) -> None:
    assert referred(*messages) == threads


def test_a_thread_as_deep_as_the_mailbox_is_large() -> None:
    count = 50_000
    chain = [message(number, f"{number - 1}") for number in range(1, count + 1)]
    wanted = "(" + " ".join(str(number) for number in range(1, count + 1)) + ")"
    assert referred(*chain) == wanted
    assert referred(*reversed([message(n, f"{n - 1}", at=count - n) for n in range(1, count + 1)])) == wanted


def test_who_entangles_messages_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(thread_references, "MAX_NAMES", 100)
    with pytest.raises(TooEntangled):
        referred(message(1, " ".join(f"x{number}" for number in range(101))))
    monkeypatch.undo()
    monkeypatch.setattr(thread_references, "MAX_STEPS", 10_000)
    deep = [message(number, f"{number - 1}" if number > 1 else "") for number in range(1, 2000)]
    with pytest.raises(TooEntangled):
        referred(*deep, message(5000, "1999 1 1999 1 1999 1 1999 1 1999 1 1999 1 1999 1"))
