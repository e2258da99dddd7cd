"""Ports that processes choose side by side."""

import subprocess
import sys

import pytest

from posthorn_ctl.embedded import ports

FEW = {"first": 19000, "last": 19006}
CHOOSE = f"from posthorn_ctl.embedded import ports; print(*ports.free_ports(3, **{FEW}), flush=True); input()"


@pytest.mark.skipif(sys.platform != "linux", reason="abstract sockets are Linux's")
def test_processes_that_choose_side_by_side_never_choose_the_same() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", CHOOSE], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdin is not None
        assert other.stdout is not None
        theirs = set(map(int, other.stdout.readline().split()))
        ours = set(ports.free_ports(3, **FEW))
        assert theirs | ours == set(range(19000, 19006))
        with pytest.raises(OSError, match="no 1 free ports"):
            ports.free_ports(1, **FEW)
        other.communicate("\n")
    # What a process has chosen is free for others once it has ended, even if nothing ever listened there.
    assert set(ports.free_ports(3, **FEW)) == theirs
