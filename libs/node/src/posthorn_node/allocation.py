"""Where the C library puts large buffers: each into pages of its own, so that untouched ones take no memory."""

import ctypes
from typing import Final

THRESHOLD: Final = 128 << 10
"""Octets from which on a buffer has pages of its own."""
MOST: Final = 30_000
"""Such buffers at once; Linux allows a process some 65,000 mappings of all kinds."""
_M_MMAP_THRESHOLD, _M_MMAP_MAX = -3, -4
"""Of mallopt(3)."""


def map_large_buffers() -> None:
    """Let large buffers have pages of their own for good, where the C library can be told so (glibc).

    By itself it stops doing so once a larger one has been freed. Then the 256 KiB that a TLS connection reserves, and
    of which it touches a page or two, lie on pages that others have written before (decision 0049).
    """
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:
        mallopt(_M_MMAP_THRESHOLD, THRESHOLD)
        mallopt(_M_MMAP_MAX, MOST)
