"""Ids and states on the wire (RFC 8620 1.2): a letter for the kind, then the store's number, or a blob's key in hex.

A blob id may name a part of a message: key, first byte, length and transfer encoding of the part.
"""

import re
from dataclasses import dataclass

from posthorn_jmap.protocol.errors import MethodError
from posthorn_model.ids import BlobKey

_NUMBER = re.compile(r"[0-9]{1,18}")
_BLOB = re.compile(r"b((?:[0-9a-f]{2}){32,33})(?:-([0-9]{1,12})-([0-9]{1,12})-([nbq]))?")
ENCODINGS = {"b": "base64", "q": "quoted-printable", "n": ""}
_LETTERS = {"base64": "b", "quoted-printable": "q"}


def to_wire(letter: str, number: int) -> str:
    """An id such as "m17"."""
    return f"{letter}{number}"


def from_wire(letter: str, value: object) -> int | None:
    """The number of an id of that kind; None when it is no such id."""
    if isinstance(value, str) and value[:1] == letter and _NUMBER.fullmatch(value[1:]):
        return int(value[1:])
    return None


def state_from_wire(value: object) -> int:
    """The modseq of a state. Raises MethodError cannotCalculateChanges for a state that was never given out."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        return int(value)
    raise MethodError("cannotCalculateChanges", "that is not a state of this account")


@dataclass(frozen=True, slots=True)
class BlobRef:
    """What a blob id names: a whole blob, or bytes `start` to `start + length` of it in a transfer encoding."""

    key: BlobKey
    start: int = 0
    length: int | None = None
    encoding: str = ""

    def wire(self) -> str:
        """The blob id."""
        whole = f"b{self.key.hex()}"
        if self.length is None:
            return whole
        return f"{whole}-{self.start}-{self.length}-{_LETTERS.get(self.encoding, 'n')}"


def blob_from_wire(value: object) -> BlobRef | None:
    """What a blob id names; None when it is none."""
    match = _BLOB.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        return None
    key = BlobKey(bytes.fromhex(match[1]))
    if match[2] is None:
        return BlobRef(key)
    return BlobRef(key, int(match[2]), int(match[3]), ENCODINGS[match[4]])
