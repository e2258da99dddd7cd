"""Processes of an earlier life that still work in a folder: found by it, asked to end, and then made to."""

import contextlib
import os
import signal
import time
from pathlib import Path


def working_in(folder: Path) -> list[int]:
    """Ids of the processes whose working folder is `folder`, lowest first."""
    wanted = str(folder.resolve())
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(OSError):
                if str((entry / "cwd").readlink()) == wanted and int(entry.name) != os.getpid():
                    found.append(int(entry.name))
    return sorted(found)


def end(folder: Path, *, first: signal.Signals, patience: float = 15.0) -> None:
    """End everything that works in `folder`: `first` at once, SIGKILL after `patience` seconds."""
    for kind, seconds in ((first, patience), (signal.SIGKILL, 5.0)):
        for pid in working_in(folder):
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
        deadline = time.monotonic() + seconds
        while working_in(folder):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return
