"""The names of objects in stores: the key in hexadecimal, below its first two digits, never anybody's text. No IO."""

import re
from typing import Final

from posthorn_model.ids import BlobKey

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
