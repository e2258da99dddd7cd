"""Content on its way in: in memory while small, then in a file of the node's own spool folder.

Room is left in front of the content, so that trace fields written at the end cost no second copy. The file has no
name once it is open: nothing is left behind by a process that dies.
"""

import hashlib
import mmap
import tempfile
from pathlib import Path
from typing import IO

HEAD_ROOM = 262_144
"""Octets in front of spooled content for the fields a server adds."""
MAX_HEAD = 1 << 20
"""Octets searched for the end of the header section."""


class Spool:
    """The content of one message. Use `add` until the end, then read; `close` in any case."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder = folder
        self._memory = memory
        self._held = bytearray()
        self._file: IO[bytes] | None = None
        self._map: mmap.mmap | None = None
        self._digest = hashlib.sha256()
        self.size = 0

    def add(self, piece: bytes) -> None:
        """Take the next octets; raises OSError when the spool folder does not take them."""
        self._digest.update(piece)
        self.size += len(piece)
        if self._file is not None:
            self._file.write(piece)
            return
        self._held += piece
        if len(self._held) > self._memory:
            self._file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115  closed by close()
            self._file.seek(HEAD_ROOM)
            self._file.write(self._held)
            self._held.clear()

    def digest(self) -> bytes:
        """SHA-256 of the content as the client sent it."""
        return self._digest.digest()

    def head(self) -> bytes:
        """The header section with the empty line that ends it, or the first MiB when none ends there."""
        if self._file is not None:
            self._file.seek(HEAD_ROOM)
            start = self._file.read(MAX_HEAD)
            self._file.seek(0, 2)
        else:
            start = bytes(self._held[:MAX_HEAD])
        if start.startswith(b"\r\n"):
            return b"\r\n"
        end = start.find(b"\r\n\r\n")
        return start if end < 0 else start[: end + 4]

    def with_head(self, head: bytes, replaced: int = 0) -> bytes | memoryview:
        """The whole message: `head` in place of the first `replaced` octets of the content.

        A view of spooled content is valid until `close`. Raises ValueError when `head` has no room.
        """
        if self._file is None:
            return head + self._held[replaced:]
        start = HEAD_ROOM + replaced - len(head)
        if start < 0:
            raise ValueError("the added fields are too large")
        self._file.seek(start)
        self._file.write(head)
        self._file.flush()
        self._map = mmap.mmap(self._file.fileno(), 0, access=mmap.ACCESS_READ)
        return memoryview(self._map)[start:]

    def close(self) -> None:
        """Let go of memory and file."""
        if self._map is not None:
            try:
                self._map.close()
            except BufferError:  # a view is still held elsewhere: the mapping ends with it
                self._map = None
        if self._file is not None:
            self._file.close()
        self._held.clear()
