"""Tells apart the processes of one service on one node: the lowest number that no other of them holds.

The number is a lock on a file of the data folder, which the kernel takes back when the process ends, however it ends:
so a process that is restarted gets its number again. It refuses nothing: without the folder every process has number 0.

Who holds a number writes into the file who it is. Who gets the number next reads there whose life has certainly ended:
the lock was free, and it was taken under the same kernel.
"""

import contextlib
import fcntl
import json
import os
from dataclasses import dataclass, field
from pathlib import Path

MOST = 1000
KERNEL = Path("/proc/sys/kernel/random/boot_id")
"""Another one after each start of the machine, and on each machine: locks of other machines may not be seen here."""
MAX_BYTES = 1000


@dataclass(frozen=True, slots=True)
class Life:
    """One life of one process: its boot id and its node's token."""

    boot: str
    token: str = field(repr=False)


@dataclass(slots=True)
class Worker:
    """A number while it is held."""

    number: int
    former: Life | None = None
    """The last one that had this number, and is dead; None when that is not certain."""
    _file: int | None = None

    def sign(self, life: Life) -> None:
        """Let the next one know who had this number. Never raises."""
        if self._file is None:
            return
        said = json.dumps({"boot": life.boot, "token": life.token, "kernel": _kernel()}).encode()
        with contextlib.suppress(OSError):
            os.ftruncate(self._file, 0)
            os.pwrite(self._file, said, 0)

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
            return Worker(number, _former(file), file)
    return Worker(0)


def _former(file: int) -> Life | None:
    """Who signed the file under this kernel; None when nobody has, or it cannot be read."""
    try:
        said = json.loads(os.pread(file, MAX_BYTES, 0))
    except (OSError, ValueError, RecursionError):
        return None
    kernel = _kernel()
    if not isinstance(said, dict) or not kernel or said.get("kernel") != kernel:
        return None
    boot, token = said.get("boot"), said.get("token")
    return Life(boot, token) if isinstance(boot, str) and isinstance(token, str) else None


def _kernel() -> str:
    """Empty when it is not known."""
    try:
        return KERNEL.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return ""
