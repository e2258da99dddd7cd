"""`posthorn reload`: have running services read their settings again."""

import json
import os
import signal
from contextlib import suppress
from typing import Annotated, Any

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import at, holder
from posthorn_ctl.cluster.running import NOT_RUNNING, content_of
from posthorn_ctl.commands.data_option import DEFAULT_DATA, DataOption

EPILOG = "Example: posthorn reload --data ./data"


def reload(
    *, data: DataOption = DEFAULT_DATA, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Have all services of a local cluster read nodes/ID/node.toml again, if these files are good.

    What can change while running holds for new connections; each process says in its log what it took, and what needs a
    restart. The next `posthorn up` writes the files anew, from its --set. A service elsewhere is told by SIGHUP.
    """
    from posthorn_ctl.cluster.node_file import judged, path_of

    folder = at(data)
    content = content_of(folder)
    if holder(folder) is None:
        raise ClusterError(f"no cluster is running on {folder.path}: `posthorn up` starts one", code=NOT_RUNNING)
    for node in content["nodes"]:
        judged(path_of(folder, node["id"]), os.environ)
    asked = [each for each in content["processes"] if each["node"] and _told(each["pid"])]
    print(json.dumps({"asked": asked}) if as_json else _text(asked, str(folder.logs)))


def _told(pid: int) -> bool:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGHUP)
        return True
    return False


def _text(asked: list[dict[str, Any]], logs: str) -> str:
    return f"{len(asked)} processes read their settings again: what each took stands in {logs}"
