"""Content on its way in: in memory while small, then in a file of the node's own spool folder.

The file has no name once it is open: nothing is left behind by a process that dies.
"""

import hashlib
import tempfile
from pathlib import Path
from typing import IO

MAX_HEAD = 1 << 20
"""Octets searched for the end of the header section."""


class Spool:
    """The content of one message. Use `add` until the end, then read; `close` in any case."""

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder = folder
        self._memory = memory
        self._held = bytearray()
        self._file: IO[bytes] | None = None
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
            self._file.write(self._held)
            self._held.clear()

    def digest(self) -> bytes:
        """SHA-256 of the content as the client sent it."""
        return self._digest.digest()

    def head(self) -> bytes:
        """The header section with the empty line that ends it, or the first MiB when none ends there."""
        if self._file is not None:
            self._file.seek(0)
            start = self._file.read(MAX_HEAD)
            self._file.seek(0, 2)
        else:
            start = bytes(self._held[:MAX_HEAD])
        if start.startswith(b"\r\n"):
            return b"\r\n"
        end = start.find(b"\r\n\r\n")
        return start if end < 0 else start[: end + 4]

    @property
    def spooled(self) -> bool:
        """Whether the content is in a file: `with_head` will take memory for it."""
        return self._file is not None

    def with_head(self, head: bytes, replaced: int = 0) -> bytes:
        """The whole message: `head` in place of the first `replaced` octets of the content."""
        if self._file is None:
            return head + self._held[replaced:]
        self._file.seek(replaced)
        return head + self._file.read()

    def close(self) -> None:
        """Let go of memory and file."""
        if self._file is not None:
            self._file.close()
        self._held.clear()
