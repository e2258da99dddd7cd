"""Sequence sets and UID sets (RFC 9051 sequence-set, RFC 4315 uid-set): read, resolve, write."""

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from posthorn_imap.protocol.cursor import MAX_NUMBER, Cursor, SyntaxProblem

STAR = 0
"""Stands for "*", the largest number in use."""
SAVED_MARK = b"$"
_SET = re.compile(rb"[0-9*][0-9:*,]*")
_MAX_RANGES = 10_000


@dataclass(frozen=True, slots=True)
class NumberSet:
    """Ranges of sequence numbers or UIDs as written; STAR for "*". Empty and `saved`: "$" (RFC 9051 6.4.4.1)."""

    ranges: tuple[tuple[int, int], ...]
    saved: bool = False


SAVED = NumberSet((), saved=True)


def number_set(cursor: Cursor, *, saved: bool = True) -> NumberSet:
    """Read a set; `saved`: whether "$" may stand here."""
    if saved and cursor.accept(SAVED_MARK):
        return SAVED
    found = cursor.match(_SET)
    if found is None:
        raise SyntaxProblem("expected a set of numbers")
    return parse_set(found[0])


def parse_set(text: bytes) -> NumberSet:
    """The set in `text`, such as b"1:3,5,7:*"."""
    ranges = []
    items = text.split(b",")
    if len(items) > _MAX_RANGES:
        raise SyntaxProblem("set too long")
    for item in items:
        first, colon, last = item.partition(b":")
        low = _number(first)
        ranges.append((low, _number(last) if colon else low))
    return NumberSet(tuple(ranges))


def _number(text: bytes) -> int:
    if text == b"*":
        return STAR
    if not text.isdigit() or len(text) > 10 or not 0 < int(text) <= MAX_NUMBER:
        raise SyntaxProblem("invalid number in a set")
    return int(text)


def positions_of_numbers(wanted: NumberSet, total: int) -> list[range]:
    """Positions (from 0, ascending, disjoint) of the sequence numbers in a mailbox of `total` messages.

    Raises SyntaxProblem for a number that is not in use (RFC 9051 9: seq-number). "*" in an empty mailbox is nothing.
    """
    found = []
    for low, high in wanted.ranges:
        if not total and STAR in (low, high):
            continue
        low, high = low or total, high or total
        if max(low, high) > total:
            raise SyntaxProblem("sequence number not in use")
        found.append(range(min(low, high) - 1, max(low, high)))
    return _joined(found)


def positions_of_uids(wanted: NumberSet, uids: Sequence[int]) -> list[range]:
    """Positions in the ascending `uids` of those in the set; unknown UIDs are no error (RFC 9051 6.4.9)."""
    if not uids:
        return []
    found = []
    for low, high in wanted.ranges:
        low, high = low or uids[-1], high or uids[-1]
        found.append(range(bisect_left(uids, min(low, high)), bisect_right(uids, max(low, high))))
    return _joined(found)


def _joined(ranges: Iterable[range]) -> list[range]:
    found: list[range] = []
    for each in sorted((r for r in ranges if r), key=lambda r: r.start):
        if found and each.start <= found[-1].stop:
            found[-1] = range(found[-1].start, max(found[-1].stop, each.stop))
        else:
            found.append(each)
    return found


def bounded_members(wanted: NumberSet, limit: int) -> Iterator[int]:
    """The numbers of a set that has no "*", in the order written, at most `limit` of them."""
    left = limit
    for low, high in wanted.ranges:
        if STAR in (low, high):
            raise SyntaxProblem('"*" is not allowed here')
        step = 1 if low <= high else -1
        for number in range(low, high + step, step):
            if not left:
                return
            left -= 1
            yield number


def contains(wanted: NumberSet, number: int) -> bool:
    """Whether a set holds `number`; "*" is larger than all, so that 1:* holds what vanished at the end too."""
    ends = ((low or MAX_NUMBER, high or MAX_NUMBER) for low, high in wanted.ranges)
    return any(min(low, high) <= number <= max(low, high) for low, high in ends)


def write_set(numbers: Iterable[int]) -> bytes:
    """Numbers in the order given, runs that ascend by one written as ranges: b"1:3,7"."""
    runs: list[tuple[int, int]] = []
    for number in numbers:
        if runs and number == runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], number)
        else:
            runs.append((number, number))
    return _written(runs)


def write_ranges(ranges: Iterable[tuple[int, int]]) -> bytes:
    """Ranges (both ends included) as a set: sorted, those that touch joined; b"" for none."""
    runs: list[tuple[int, int]] = []
    for low, high in sorted(ranges):
        if runs and low <= runs[-1][1] + 1:
            runs[-1] = (runs[-1][0], max(runs[-1][1], high))
        else:
            runs.append((low, high))
    return _written(runs)


def _written(runs: Iterable[tuple[int, int]]) -> bytes:
    return b",".join(b"%d" % low if low == high else b"%d:%d" % (low, high) for low, high in runs)
