"""How many processes a service has on a node: `server.processes`, and `processes` in the table of each service."""

import math
import os
from pathlib import Path
from typing import Final

from posthorn_node.settings.blob_stores import RocksStore
from posthorn_node.settings.node import NodeSettings
from posthorn_node.settings.problems import Problem, SettingsError
from posthorn_node.settings.values import MOST_PROCESSES, Processes, Section, parse_bind

QUOTA: Final = Path("/sys/fs/cgroup/cpu.max")
"""What a container may take of the processors: microseconds in a period, and the period; or "max"."""


class ServiceSettings(Section):
    """What the table of every service has."""

    processes: Processes | None = None
    """On one node; None: as server.processes says."""


def processes_of(service: str, settings: NodeSettings, own: ServiceSettings) -> int:
    """How many processes a service shall have here. Raises SettingsError when the other settings allow only one."""
    said = settings.server.processes if own.processes is None else own.processes
    count = processors() if isinstance(said, str) else said
    if count == 1:
        return 1
    key = "server.processes" if own.processes is None else f"{service}.processes"
    for name, store in settings.store.items():
        if isinstance(store, RocksStore):
            raise _refused(key, f'store "{name}" is a RocksDB, which one process alone can open: write {key} = 1')
    if settings.coordinator() is None and parse_bind(settings.cluster.peer_bind)[1]:
        reason = 'cluster.peer-bind names a port, which one process alone can have: write port 0, such as "0.0.0.0:0"'
        raise _refused("cluster.peer-bind", reason)
    return count


def processors(quota: Path = QUOTA) -> int:
    """How many processors this process may use, at most MOST_PROCESSES."""
    count = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    try:
        share, period = quota.read_text(encoding="ascii").split()
        count = min(count, math.ceil(int(share) / int(period)))
    except (OSError, ValueError, ZeroDivisionError):
        pass  # no container, or one without a limit
    return max(1, min(count, MOST_PROCESSES))


def _refused(key: str, reason: str) -> SettingsError:
    return SettingsError([Problem("settings", 0, key, reason)])
