"""`posthorn logs`: what the processes of a cluster have written, in the order of its times."""

import json
import sys
import time
from collections import deque
from pathlib import Path
from typing import Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import at
from posthorn_ctl.cluster.log_stream import as_text
from posthorn_ctl.cluster.screen import Screen
from posthorn_ctl.commands.data_option import DEFAULT_DATA, DataOption

EPILOG = "Example: posthorn logs smtp-out --node 2 --follow"
PAUSE = 0.2


def logs(
    service: Annotated[str | None, typer.Argument(help="Only this service, or postgresql or kafka.")] = None,
    *,
    node: Annotated[int | None, typer.Option(help="Only this node.")] = None,
    lines: Annotated[int, typer.Option(min=0, max=100_000, help="Last lines of each process.")] = 50,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on with what comes.")] = False,
    data: DataOption = DEFAULT_DATA,
    as_json: Annotated[bool, typer.Option("--json", help="Lines as the services wrote them.")] = False,
) -> None:
    """Show the logs of all processes of a cluster, or of some."""
    folder = at(data)
    files = {path: _speaker(path) for path in sorted(folder.logs.glob("*.log")) if path.name != "up.log"}
    wanted = {path: name for path, name in files.items() if _matches(name, service, node)}
    if not wanted:
        there = ", ".join(sorted(files.values())) or "none yet"
        raise ClusterError(f"no logs of that in {folder.logs}: there are {there}")
    screen = Screen(sys.stdout)
    ends: dict[Path, int] = {}
    found: list[tuple[str, str, str]] = []
    for path, name in wanted.items():
        moment = ""
        with path.open("rb") as file:
            for raw in deque(file, lines):
                line = raw.decode("utf-8", "replace").rstrip("\n")
                moment = _moment(line) or moment
                found.append((moment, name, line))
            file.seek(0, 2)
            ends[path] = file.tell()
    for _, name, line in sorted(found, key=lambda each: each[0]):
        _show(screen, name, line, as_json=as_json)
    while follow:
        time.sleep(PAUSE)
        for path, name in wanted.items():
            ends[path] = _show_new(screen, path, name, ends[path], as_json=as_json)


def _speaker(path: Path) -> str:
    """ "node1/imap" from node1-imap.log, "kafka" from kafka.log."""
    node, dash, service = path.stem.partition("-")
    return f"{node}/{service}" if dash and node.startswith("node") else path.stem


def _matches(name: str, service: str | None, node: int | None) -> bool:
    place, slash, own = name.rpartition("/")
    return service in (None, own) and (node is None or (bool(slash) and place == f"node{node}"))


def _moment(line: str) -> str:
    try:
        entry = json.loads(line)
    except ValueError:
        return ""
    return str(entry.get("timestamp", "")) if isinstance(entry, dict) else ""


def _show(screen: Screen, name: str, line: str, *, as_json: bool) -> None:
    if as_json:
        print(line, flush=True)
    else:
        screen.log(name, as_text(line))


def _show_new(screen: Screen, path: Path, name: str, end: int, *, as_json: bool) -> int:
    """Show the whole lines added since byte `end`; returns where the next look begins."""
    try:
        if path.stat().st_size < end:
            end = 0  # a new file has begun
        with path.open("rb") as file:
            file.seek(end)
            added = file.read()
    except FileNotFoundError:
        return 0
    whole = added[: added.rfind(b"\n") + 1]
    for line in whole.decode("utf-8", "replace").splitlines():
        _show(screen, name, line, as_json=as_json)
    return end + len(whole)
