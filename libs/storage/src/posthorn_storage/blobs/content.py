"""The encodings in which content is stored, and its key. No IO, but for a file where one is wanted, not memory."""

import hashlib
import io
import mmap
import tempfile
import threading
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Final, TypeVar

import lz4.frame
import zstandard

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs import frames

PLAIN, ZSTD, LZ4, ZSTD_FRAMES, LZ4_FRAMES = 0, 1, 2, 3, 4
"""Stored with each blob: a number never changes its meaning, and content of every number stays readable."""
BY_NAME: Final = {"none": PLAIN, "zstd": ZSTD, "lz4": LZ4}
"""What new blobs are stored as, by the word of the settings."""
FRAMED: Final = frozenset({ZSTD_FRAMES, LZ4_FRAMES})
FRAMED_FROM: Final = 4 * frames.PIECE
"""Content of this size on is compressed in frames."""
LEVEL = 3
IN_THREAD = 128 * 1024
"""Content above this size is hashed and encoded outside of the event loop."""
_OWN = threading.local()
"""Compressors of each thread; they may not be shared by several."""

Result = TypeVar("Result")


def content_key(data: bytes | memoryview) -> BlobKey:
    """The key of the content before any generation byte: its SHA-256."""
    return BlobKey(hashlib.sha256(data).digest())


def encoding_for(size: int, encoding: int) -> int:
    """The encoding of content of this size, where `encoding` was asked for."""
    if size < FRAMED_FROM:
        return encoding
    return {ZSTD: ZSTD_FRAMES, LZ4: LZ4_FRAMES}.get(encoding, encoding)


def encode(data: bytes | memoryview, encoding: int, scratch: Path | None = None) -> bytes | memoryview:
    """The stored form of `data` in `encoding`.

    With `scratch` frames are written into a file without a name in that folder, and what is returned is mapped from it:
    it takes no memory of the process. Raises OSError when the folder takes no more.
    """
    if encoding == PLAIN:
        return data
    compress = _compressor(encoding)
    if encoding not in FRAMED:
        return compress(data)
    if scratch is None:
        held = io.BytesIO()
        frames.pack(data, compress, held)
        return held.getbuffer()
    with tempfile.TemporaryFile(dir=scratch) as file:
        frames.pack(data, compress, file)
        file.flush()
        # Unmapped with the last reference to it: a thread that was given up may still be sending it.
        return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))


def decode(stored: bytes | memoryview, encoding: int, size: int, key: BlobKey | None = None) -> bytes:
    """The content of a stored form, exactly `size` bytes. Raises Unavailable when it is damaged.

    With `key` the content is compared with the hash in it.
    """
    if encoding in FRAMED:
        places = frames.offsets(bytes(stored[: frames.index_length(size)]), size)
        data = b"".join(decode_frames(stored, places, encoding))
        whole = places[-1] == len(stored)
    else:
        data, whole = _guarded(lambda: _unpacked(stored, encoding, size)), True
    if not whole or len(data) != size or (key is not None and content_key(data) != key[:32]):
        raise Unavailable("stored content is damaged", size=size, found=len(data))
    return data


def decode_frames(stored: bytes | memoryview, places: list[int], encoding: int) -> list[bytes]:
    """The pieces of content in the frames between each two of `places`, offsets in `stored`. Raises Unavailable."""
    plain = ZSTD if encoding == ZSTD_FRAMES else LZ4
    return _guarded(
        lambda: frames.unpack(stored, pairwise(places), lambda frame: _unpacked(frame, plain, frames.PIECE))
    )


def _compressor(encoding: int) -> Callable[[bytes | memoryview], bytes]:
    if encoding in (ZSTD, ZSTD_FRAMES):
        # Whole content is compared with its hash; a frame that is read alone has only its checksum.
        return _zstd(checksum=encoding in FRAMED).compress
    return lambda data: bytes(lz4.frame.compress(data, content_checksum=True))


def _zstd(*, checksum: bool) -> zstandard.ZstdCompressor:
    """This thread's compressor: to make one costs more than to compress a short message."""
    name = "checked" if checksum else "plain"
    found: zstandard.ZstdCompressor | None = getattr(_OWN, name, None)
    if found is None:
        found = zstandard.ZstdCompressor(level=LEVEL, write_checksum=checksum)
        setattr(_OWN, name, found)
    return found


def _guarded(work: Callable[[], Result]) -> Result:
    try:
        return work()
    except (zstandard.ZstdError, RuntimeError, EOFError) as error:  # RuntimeError: what lz4 raises
        raise Unavailable("stored content is damaged", cause=repr(error)) from error


def _unpacked(stored: bytes | memoryview, encoding: int, size: int) -> bytes:
    """The content, never much more than `size` bytes of it."""
    if encoding == PLAIN:
        return bytes(stored)
    if encoding == ZSTD:
        return zstandard.ZstdDecompressor().decompress(stored, max_output_size=max(size, 1))
    if encoding == LZ4:
        reader = lz4.frame.LZ4FrameDecompressor()
        data: bytes = reader.decompress(stored, max_length=size + 1)
        if not reader.eof:
            raise EOFError("the frame is cut short, or longer than it should be")
        return data
    raise Unavailable("the content is stored in a form that this version does not know", encoding=encoding)
