"""`posthorn up --detach`: the same command as a process of its own, watched until it is ready."""

import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, held, holder, made, read_json

OUTPUT = "up.log"


def run_detached(folder: DataFolder, arguments: Sequence[str], out: TextIO) -> None:
    """Run `posthorn ARGUMENTS` without --detach in a session of its own; returns when its cluster is ready.

    What it prints goes to logs/up.log and, until it is ready, to `out`. Raises ClusterError when it ends before.
    """
    made(folder.path)
    with held(folder):
        pass  # refuses at once, here, when a cluster runs on the folder already
    log = folder.logs / OUTPUT
    rest = [word for word in arguments if word != "--detach"]
    with log.open("wb") as sink:
        child = subprocess.Popen(
            [sys.executable, "-m", "posthorn_ctl", *rest],
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    shown = 0
    try:
        while not _is_ready(folder, child.pid):
            code = child.poll()
            shown = _show(log, shown, out)
            if code is not None:
                raise ClusterError(f"the cluster did not start; all it said is in {log}", code=code or 1)
            time.sleep(0.1)
        _show(log, shown, out)
    except BaseException:
        if child.poll() is None:
            child.terminate()
            child.wait()
        raise


def _is_ready(folder: DataFolder, pid: int) -> bool:
    content = read_json(folder.contract)
    return bool(content and content.get("state") == "ready" and content.get("pid") == pid and holder(folder) == pid)


def _show(log: Path, shown: int, out: TextIO) -> int:
    """Print what was added since byte `shown`; returns the new end. Lines of services stay in the file."""
    with log.open("rb") as file:
        file.seek(shown)
        text = file.read().decode("utf-8", "replace")
        end = file.tell()
    for line in text.splitlines():
        if "| " not in line[:24]:
            out.write(line + "\n")
    out.flush()
    return end
