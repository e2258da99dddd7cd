"""Threads of messages as values, how they are ordered and written (RFC 5256 3 and 4), and ORDEREDSUBJECT.

Pure functions over what is known of each message; nothing here descends by recursion, for a thread may be as deep as
its mailbox is large.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

Children = Mapping[int, Sequence[int]]


@dataclass(frozen=True, slots=True)
class ThreadFacts:
    """One message; `sent` in any unit, `number` breaks ties."""

    number: int
    sent: float
    subject: bytes
    """The base subject in the form in which texts are compared."""
    reply: bool
    """Its subject is that of a reply or a forward (RFC 5256 2.1)."""
    id: str | None
    references: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Forest:
    """Threads in order: nodes are places in `facts`, or beyond them for messages that are not there (dummies)."""

    facts: Sequence[ThreadFacts]
    roots: Sequence[int]
    children: Children


def ordered_subject(facts: Sequence[ThreadFacts]) -> Forest:
    """Poor man's threads: what has the same base subject, the first message above all others (RFC 5256 3)."""
    by_subject: dict[bytes, list[int]] = {}
    for place in sorted(range(len(facts)), key=lambda at: _order(facts, at)):
        by_subject.setdefault(facts[place].subject, []).append(place)
    # Each list has its oldest message first, and came into being when that was met: they are in order already.
    return Forest(
        facts,
        [places[0] for places in by_subject.values()],
        {places[0]: places[1:] for places in by_subject.values() if len(places) > 1},
    )


def _order(facts: Sequence[ThreadFacts], place: int) -> tuple[float, int]:
    return facts[place].sent, facts[place].number


def write_threads(forest: Forest, shown: Callable[[int], int]) -> bytes:
    """The threads of a THREAD response (RFC 5256 5: thread-list); `shown` is what the client calls a number."""
    facts, known = forest.facts, len(forest.facts)
    words: list[bytes] = []
    stack: list[int | None] = list(reversed(forest.roots))  # None closes a thread
    while stack:
        node = stack.pop()
        if node is None:
            words.append(b")")
            continue
        words.append(b"(")
        space = b""
        while True:
            if node < known:
                words.append(space + b"%d" % shown(facts[node].number))
                space = b" "
            below = forest.children.get(node, ())
            if len(below) != 1:
                break
            node = below[0]
        stack.append(None)
        if below:
            words.append(space)
            stack.extend(reversed(below))
    return b"".join(words)
