"""Ties a process's life to its parent's, so that a killed supervisor leaves nothing running (Linux)."""

import ctypes
import os
import signal
import sys

PARENT_VARIABLE = "POSTHORN_PARENT"
"""A supervisor sets it to its process id in the environment of its children."""
_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def die_with_parent(parent: int, number: int = signal.SIGKILL) -> None:
    """Have the kernel send `number` to this process when its parent dies; end at once when it is dead already.

    Call it in the child, after any change of user (the kernel forgets the wish then: prctl(2)). Safe between fork and
    exec. Does nothing on other systems than Linux.
    """
    if _LIBC is None:
        return
    _LIBC.prctl(_PR_SET_PDEATHSIG, int(number), 0, 0, 0)
    try:
        os.kill(parent, 0)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGKILL)
    except PermissionError:
        pass  # it lives, as another user
