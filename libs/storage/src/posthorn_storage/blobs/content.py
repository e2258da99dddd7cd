"""The encodings in which content is stored, and its key. No IO."""

import hashlib
from typing import Final

import lz4.frame
import zstandard

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey

PLAIN, ZSTD, LZ4 = 0, 1, 2
"""Stored with each blob: a number never changes its meaning, and content of every number stays readable."""
BY_NAME: Final = {"none": PLAIN, "zstd": ZSTD, "lz4": LZ4}
"""What new blobs are stored as, by the word of the settings."""
LEVEL = 3
IN_THREAD = 128 * 1024
"""Content above this size is hashed and encoded outside of the event loop."""


def content_key(data: bytes | memoryview) -> BlobKey:
    """The key of the content before any generation byte: its SHA-256."""
    return BlobKey(hashlib.sha256(data).digest())


def encode(data: bytes | memoryview, encoding: int) -> bytes:
    """The stored form of `data` in `encoding`."""
    if encoding == ZSTD:
        return zstandard.ZstdCompressor(level=LEVEL).compress(data)
    if encoding == LZ4:
        packed: bytes = lz4.frame.compress(data, content_checksum=True)
        return packed
    return bytes(data)


def decode(stored: bytes, encoding: int, size: int, key: BlobKey | None = None) -> bytes:
    """The content of a stored form, exactly `size` bytes. Raises Unavailable when it is damaged.

    With `key` the content is compared with the hash in it.
    """
    try:
        data = _unpacked(stored, encoding, size)
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:  # RuntimeError: what lz4 raises
        raise Unavailable("stored content is damaged", cause=repr(error)) from error
    if len(data) != size or (key is not None and content_key(data) != key[:32]):
        raise Unavailable("stored content is damaged", size=size, found=len(data))
    return data


def _unpacked(stored: bytes, encoding: int, size: int) -> bytes:
    """The content, never much more than `size` bytes of it."""
    if encoding == PLAIN:
        return stored
    if encoding == ZSTD:
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=max(size, 1))
    if encoding == LZ4:
        reader = lz4.frame.LZ4FrameDecompressor()
        data: bytes = reader.decompress(stored, max_length=size + 1)
        if not reader.eof:
            raise EOFError("the frame is cut short, or longer than it should be")
        return data
    raise Unavailable("the content is stored in a form that this version does not know", encoding=encoding)
