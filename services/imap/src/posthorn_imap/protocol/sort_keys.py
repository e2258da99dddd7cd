"""What SORT is asked to sort by, and keys that order messages by it (RFC 5256 2.2 and 3, RFC 5957). No IO."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import Enum

from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem

MAX_CRITERIA = 64
"""Written in one command; of those that repeat the first counts."""
MAX_KEY = 512
"""Octets by which texts are told apart."""
_OPPOSITE = bytes(255 - octet for octet in range(256))
_EPOCH_SHIFT = 1 << 62
_UID_OCTETS = 4


class SortKey(Enum):
    ARRIVAL = b"ARRIVAL"
    CC = b"CC"
    DATE = b"DATE"
    FROM = b"FROM"
    SIZE = b"SIZE"
    SUBJECT = b"SUBJECT"
    TO = b"TO"
    DISPLAYFROM = b"DISPLAYFROM"
    DISPLAYTO = b"DISPLAYTO"


@dataclass(frozen=True, slots=True)
class Criterion:
    key: SortKey
    reverse: bool = False


def sort_criteria(cursor: Cursor) -> tuple[Criterion, ...]:
    """Read the parenthesised list of SORT. A key that repeats orders nothing any more and is left out."""
    found = cursor.listed(_criterion)
    if len(found) > MAX_CRITERIA:
        raise SyntaxProblem(f"more than {MAX_CRITERIA} sort keys")
    first: dict[SortKey, Criterion] = {}
    for criterion in found:
        first.setdefault(criterion.key, criterion)
    return tuple(first.values())


def _criterion(cursor: Cursor) -> Criterion:
    word = cursor.word()
    reverse = word == b"REVERSE"
    if reverse:
        cursor.space()
        word = cursor.word()
    try:
        return Criterion(SortKey(word), reverse)
    except ValueError:
        raise SyntaxProblem(f"unknown sort key {word[:32].decode()}") from None


Value = int | bytes | datetime


def packed(uid: int, values: Iterable[Value], criteria: Sequence[Criterion]) -> str:
    """A text whose order among its like is that of the message: a value for each of the criteria, then the UID.

    Texts of characters below 256 are what Python compares fastest; the UID settles ties and is read back with `uid_of`.
    """
    parts = [
        part.translate(_OPPOSITE) if criterion.reverse else part
        for part, criterion in zip(map(_octets, values), criteria, strict=True)
    ]
    parts.append(uid.to_bytes(_UID_OCTETS, "big"))
    return b"".join(parts).decode("latin-1")


def uid_of(key: str) -> int:
    return int.from_bytes(key[-_UID_OCTETS:].encode("latin-1"), "big")


def _octets(value: Value) -> bytes:
    """Octets in the order of the value; no value is the start of another's."""
    if isinstance(value, bytes):
        return value[:MAX_KEY].replace(b"\0", b"") + b"\0"
    number = value if isinstance(value, int) else _microseconds(value)
    return (number + _EPOCH_SHIFT).to_bytes(8, "big")


def _microseconds(moment: datetime) -> int:
    return round(moment.timestamp() * 1_000_000)


def merged(pages: Sequence[list[str]]) -> list[int]:
    """UIDs in order, from pages of keys of which each is sorted."""
    together = [key for page in pages for key in page]
    together.sort()  # it finds the sorted runs and merges them
    return [uid_of(key) for key in together]
