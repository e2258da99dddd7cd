"""Large content in frames that are compressed each by itself, so that a range is read without the rest.

Stored form: an index, then the frames. The index has the stored length of each frame, 4 bytes, and a CRC-32 of those;
how many there are follows from the size of the content. Each frame holds PIECE bytes of content, the last one fewer,
and ends with a checksum of its own. Measured with zstd: 64 KB out of a message of 27 MB are 190 KB to fetch instead of
20 MB, and 0.3 ms to unpack instead of 30; attachments grow by nothing, plain text by 8 %.
"""

import struct
import zlib
from collections.abc import Callable, Iterable
from itertools import accumulate
from typing import BinaryIO, Final

from posthorn_model.errors import Unavailable

PIECE: Final = 256 * 1024
_LENGTH: Final = 4
_LONGEST: Final = PIECE + PIECE // 8
"""No frame is stored longer, however badly it compresses."""


def count_of(size: int) -> int:
    """How many frames hold `size` bytes of content."""
    return -(-size // PIECE)


def index_length(size: int) -> int:
    """The stored length of the index of content of this size."""
    return _LENGTH * (count_of(size) + 1)


def pack(data: bytes | memoryview, compress: Callable[[memoryview], bytes], file: BinaryIO) -> None:
    """Write the stored form into an empty file, frame by frame."""
    view, lengths = memoryview(data), []
    file.seek(index_length(len(data)))
    for start in range(0, len(data), PIECE):
        frame = compress(view[start : start + PIECE])
        lengths.append(len(frame))
        file.write(frame)
    index = struct.pack(f">{len(lengths)}I", *lengths)
    file.seek(0)
    file.write(index + struct.pack(">I", zlib.crc32(index)))


def offsets(index: bytes, size: int) -> list[int]:
    """Where each frame begins in the stored form, and where the last one ends. Raises Unavailable when damaged."""
    body, check = index[:-_LENGTH], index[-_LENGTH:]
    if len(index) != index_length(size) or zlib.crc32(body) != int.from_bytes(check, "big"):
        raise Unavailable("stored content is damaged", part="index")
    lengths = struct.unpack(f">{count_of(size)}I", body)
    if any(length > _LONGEST for length in lengths):
        raise Unavailable("stored content is damaged", part="index")
    return list(accumulate(lengths, initial=len(index)))


def unpack(
    stored: bytes | memoryview, places: Iterable[tuple[int, int]], decompress: Callable[[memoryview], bytes]
) -> list[bytes]:
    """The content of the frames at `places` (begin and end in `stored`)."""
    view = memoryview(stored)
    return [decompress(view[begin:end]) for begin, end in places]
