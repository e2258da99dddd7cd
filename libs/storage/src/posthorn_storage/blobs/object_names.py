"""The names of objects in stores: the key in hexadecimal, below its first two digits, never anybody's text. No IO."""

import re
from typing import Final

from posthorn_model.ids import BlobKey

_NUMBER: Final = 8
# A content key, perhaps a generation byte, and the 8 bytes of the object's number.
_NAME: Final = re.compile(r"([0-9a-f]{2})/(\1[0-9a-f]{78}(?:[0-9a-f]{2})?)")


def object_name(key: BlobKey) -> str:
    """Such as "3f/3f9a..."."""
    name = key.hex()
    return f"{name[:2]}/{name}"


def key_of(name: str) -> BlobKey | None:
    """The key of a name, None when it is no such name."""
    match = _NAME.fullmatch(name)
    return BlobKey(bytes.fromhex(match[2])) if match else None


def object_key(key: BlobKey, number: int) -> BlobKey:
    """What a blob's object is stored under: never given twice, so a late delete hits nothing newer."""
    return BlobKey(key + number.to_bytes(_NUMBER, "big"))


def parts_of(name: BlobKey) -> tuple[bytes, int]:
    """The content's key and the number: the inverse of `object_key`."""
    return name[:-_NUMBER], int.from_bytes(name[-_NUMBER:], "big", signed=True)
