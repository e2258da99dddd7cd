"""Content on its way in: in memory while small, then in a file of the node's own spool folder.

The file has no name once it is open: nothing is left behind by a process that dies.
"""

import hashlib
import mmap
import os
import tempfile
from pathlib import Path
from typing import IO

from posthorn_mail_format.octets import Mapped, Octets

MAX_HEAD = 1 << 20
"""Octets searched for the end of the header section."""
_PIECE = 1 << 20
"""Octets copied at once."""


class Spool:
    """The content of one message. Use `add` until the end, then read; `close` in any case.

    When the folder takes no more, `failure` says why; what was held is let go, and nothing more is taken.
    """

    def __init__(self, folder: Path, memory: int) -> None:
        self._folder = folder
        self._memory = memory
        self._held = bytearray()
        self._file: IO[bytes] | None = None
        self._digest = hashlib.sha256()
        self.size = 0
        self.failure = ""

    def add(self, piece: bytes) -> None:
        """Take the next octets."""
        if self.failure:
            return
        self._digest.update(piece)
        self.size += len(piece)
        try:
            self._keep(piece)
        except OSError as error:
            self.failure = str(error) or type(error).__name__
            self.close()

    def _keep(self, piece: bytes) -> None:
        if self._file is not None:
            _write_all(self._file, piece)
            return
        self._held += piece
        if len(self._held) > self._memory:
            # Unbuffered: a full disk shows at the write that fills it, and not when the file is closed.
            self._file = tempfile.TemporaryFile(buffering=0, dir=self._folder)  # noqa: SIM115  closed by close()
            _write_all(self._file, self._held)
            self._held = bytearray()

    def digest(self) -> bytes:
        """SHA-256 of the content as the client sent it."""
        return self._digest.digest()

    def head(self) -> bytes:
        """The header section with the empty line that ends it, or the first MiB when none ends there."""
        start: bytes | bytearray = self._held
        if self._file is not None:
            self._file.seek(0)
            start = self._file.read(MAX_HEAD)
            self._file.seek(0, 2)
        if start.startswith(b"\r\n"):
            return b"\r\n"
        end = start.find(b"\r\n\r\n", 0, MAX_HEAD)
        return bytes(start[:MAX_HEAD] if end < 0 else start[: end + 4])

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` octets from `start` on, fewer at the end."""
        if self._file is None:
            with memoryview(self._held) as held:
                return bytes(held[start : start + size])
        return os.pread(self._file.fileno(), size, start)

    @property
    def spooled(self) -> bool:
        """Whether the content is in a file: `with_head` will write another one."""
        return self._file is not None

    def with_head(self, head: bytes, replaced: int = 0) -> Octets:
        """The whole message: `head` in place of the first `replaced` octets of the content.

        What is in a file is copied into another one and mapped from it: it is never in memory whole. That file has no
        name either, and goes with the last reference to what is returned. Raises OSError when the folder takes no more.
        """
        if self._file is None:
            with memoryview(self._held) as held:
                return b"".join((head, held[replaced:]))
        with tempfile.TemporaryFile(buffering=0, dir=self._folder) as file:
            _write_all(file, head)
            while piece := os.pread(self._file.fileno(), _PIECE, replaced):
                _write_all(file, piece)
                replaced += len(piece)
            return Mapped(file.fileno(), 0, access=mmap.ACCESS_READ)

    def close(self) -> None:
        """Let go of memory and file."""
        if self._file is not None:
            self._file.close()
            self._file = None
        self._held.clear()


def _write_all(file: IO[bytes], data: bytes | bytearray) -> None:
    """An unbuffered file may take less than it is given. Raises OSError."""
    with memoryview(data) as left:
        done = 0
        while done < len(left):
            done += file.write(left[done:])
