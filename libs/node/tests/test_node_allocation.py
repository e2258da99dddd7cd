"""Large buffers have pages of their own, whatever was freed before. Each try is a process of its own."""

import platform
import subprocess
import sys

import pytest

TRY = """
import ctypes
import sys
from posthorn_node.allocation import map_large_buffers

libc = ctypes.CDLL(None)
libc.malloc.restype, libc.malloc.argtypes = ctypes.c_void_p, [ctypes.c_size_t]
libc.free.restype, libc.free.argtypes = None, [ctypes.c_void_p]

class Info(ctypes.Structure):
    _fields_ = [(name, ctypes.c_size_t) for name in ("arena", "ordblks", "smblks", "hblks", *"abcdef")]

libc.mallinfo2.restype = Info
if sys.argv[1] == "told":
    map_large_buffers()
libc.free(libc.malloc(8 << 20))
before = libc.mallinfo2().hblks
kept = [libc.malloc(256 << 10) for _ in range(10)]
print(libc.mallinfo2().hblks - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="no other C library can be told")
@pytest.mark.parametrize(("told", "mapped"), [("told", 10), ("untold", 0)])
def test_a_large_buffer_has_pages_of_its_own_though_a_larger_one_was_freed(told: str, mapped: int) -> None:
    done = subprocess.run([sys.executable, "-c", TRY, told], capture_output=True, text=True, check=True)
    assert int(done.stdout) == mapped
