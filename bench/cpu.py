"""CPU time of a server with all its processes, those that have ended included, by Linux's /proc."""

import os
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path

TICK = os.sysconf("SC_CLK_TCK")


def seconds(roots: Iterable[int]) -> float:
    """CPU seconds so far of these processes, of what descends from them, and of their children that have ended."""
    parents: dict[int, int] = {}
    used: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                # From the parent on: utime, stime, cutime and cstime are fields 14 to 17 (proc(5)).
                fields = (entry / "stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()
                parents[int(entry.name)] = int(fields[1])
                used[int(entry.name)] = sum(map(int, fields[11:15]))
    return sum(used.get(pid, 0) for pid in _below(roots, parents)) / TICK


def descending(roots: Iterable[int]) -> set[int]:
    """These processes and all that descend from them now."""
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError, ValueError):
                parents[int(entry.name)] = parent_of(int(entry.name))
    return _below(roots, parents)


def _below(roots: Iterable[int], parents: Mapping[int, int]) -> set[int]:
    found = set(roots)
    while more := {pid for pid, parent in parents.items() if parent in found} - found:
        found |= more
    return found


def parent_of(pid: int) -> int:
    """The process that started `pid`. Raises OSError when there is no such process."""
    return int(Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(") ")[2].split()[1])
