"""Ranges of what was found (RFC 9394): read, cut, written."""

import re
from collections.abc import Sequence
from typing import TypeVar

from posthorn_imap.protocol.commands import Partial
from posthorn_imap.protocol.cursor import MAX_NUMBER, Cursor, SyntaxProblem

Each = TypeVar("Each")
_RANGE = re.compile(rb"(-?)([0-9]{1,10}):(-?)([0-9]{1,10})")


def partial_range(cursor: Cursor) -> Partial:
    """Read a range such as 1:500, or -1:-500; both ends count from the same side."""
    found = cursor.match(_RANGE)
    if found is None or found[1] != found[3]:
        raise SyntaxProblem("expected a range such as 1:500 or -1:-500")
    start, end = int(found[2]), int(found[4])
    if not (start and end) or max(start, end) > MAX_NUMBER:
        raise SyntaxProblem("invalid number in a range")
    return Partial(-start, -end) if found[1] else Partial(start, end)


def part_of(found: Sequence[Each], partial: Partial) -> list[Each]:
    """Those in the range, in the order found."""
    low, high = sorted((abs(partial.start), abs(partial.end)))
    if partial.start > 0:
        return list(found[low - 1 : high])
    return list(found[max(0, len(found) - high) : max(0, len(found) - low + 1)])


def write_partial(partial: Partial) -> bytes:
    return b"%d:%d" % (partial.start, partial.end)
