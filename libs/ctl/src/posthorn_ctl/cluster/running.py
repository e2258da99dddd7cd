"""A local cluster seen from outside: does it run, what does cluster.json say, is each process well; and its end."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, holder, read_json
from posthorn_ctl.cluster.vitals import Vital, ask

NOT_RUNNING = 3
"""Exit code, as of a stopped service in the Linux Standard Base."""


@dataclass(frozen=True, slots=True)
class Report:
    """`content` is cluster.json's, `pid` of who runs the cluster; None when nobody does."""

    content: dict[str, Any]
    vitals: dict[tuple[int, str], Vital]
    """By node and service, without those that were drained."""
    pid: int | None

    @property
    def state(self) -> str:
        """cluster.json's word, but "stopped" when its writer was killed before it could say so."""
        if self.pid is None:
            return "stopped"
        ready = all(vital.ready for vital in self.vitals.values())
        return "degraded" if self.content["state"] == "ready" and not ready else str(self.content["state"])


def content_of(folder: DataFolder) -> dict[str, Any]:
    """What cluster.json says. Raises ClusterError when there was never a cluster."""
    found: dict[str, Any] | None = read_json(folder.contract)
    if found is None:
        raise ClusterError(
            f"there is no cluster in {folder.path}: start one with `posthorn up`, or name its folder with --data",
            code=NOT_RUNNING,
        )
    return found


async def report(folder: DataFolder) -> Report:
    """Ask every service of a cluster how it does. Raises ClusterError when there was never one."""
    content = content_of(folder)
    pid = holder(folder)
    drained = {(each["node"], each["service"]) for each in content.get("drained", ())}
    places = {
        (each["node"], each["service"]): (each["host"], each["port"])
        for each in content["endpoints"]
        if each["protocol"] == "metrics" and (each["node"], each["service"]) not in drained
    }
    if pid is None:
        return Report(content, {}, None)
    answers = await asyncio.gather(*(ask(host, port) for host, port in places.values()))
    return Report(content, dict(zip(places, answers, strict=True)), pid)


def _lives(pid: int) -> bool:
    """Whether the process is there and no zombie that only waits to be noticed."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def stop(folder: DataFolder, limit: float = 60.0) -> bool:
    """Ask the cluster's process to stop and wait until it has. False: none was running. Raises ClusterError."""
    pid = holder(folder)
    if pid is None:
        return False
    if pid:
        try:
            os.kill(pid, signal.SIGTERM)
        except ProcessLookupError:
            pass
        except PermissionError:
            raise ClusterError(f"process {pid} belongs to another user: stop it as that user, or as root") from None
    deadline = time.monotonic() + limit
    hurried = False
    while holder(folder) is not None or _lives(pid):
        if time.monotonic() > deadline:
            if hurried or not pid:
                raise ClusterError(f"process {pid} has not stopped: see {folder.logs}")
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
            hurried, deadline = True, time.monotonic() + 10
        time.sleep(0.05)
    return True
