"""The encodings in which content is stored, and its key. No IO."""

import hashlib

import zstandard

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey

PLAIN, ZSTD = 0, 1
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
    return bytes(data)


def decode(stored: bytes, encoding: int, size: int, key: BlobKey | None = None) -> bytes:
    """The content of a stored form, exactly `size` bytes. Raises Unavailable when it is damaged.

    With `key` the content is compared with the hash in it.
    """
    try:
        if encoding == ZSTD:
            data = zstandard.ZstdDecompressor().decompress(stored, max_output_size=max(size, 1))
        else:
            data = stored
    except zstandard.ZstdError as error:
        raise Unavailable("stored content is damaged", cause=repr(error)) from error
    if len(data) != size or (key is not None and content_key(data) != key[:32]):
        raise Unavailable("stored content is damaged", size=size, found=len(data))
    return data
