"""Tells apart the processes of one service on one node: the lowest number that no other of them holds.

The number is a lock on a file of the data folder, which the kernel takes back when the process ends, however it ends:
so a process that is restarted gets its number again. It refuses nothing: without the folder every process has number 0.
"""

import contextlib
import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

MOST = 1000


@dataclass(slots=True)
class Worker:
    """A number while it is held."""

    number: int
    _file: int | None = None

    def release(self) -> None:
        if self._file is not None:
            os.close(self._file)
            self._file = None


def worker(folder: Path, node: int, service: str) -> Worker:
    """Take the lowest free number of the service's processes on this node. Never raises."""
    with contextlib.suppress(OSError):
        place = folder / "workers"
        place.mkdir(parents=True, exist_ok=True)
        for number in range(MOST):
            file = os.open(place / f"{node}-{service}-{number}", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                continue
            except OSError:
                os.close(file)
                raise
            return Worker(number, file)
    return Worker(0)
