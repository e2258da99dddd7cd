"""Which nodes a local cluster should have: by the options of `posthorn up`, or by the topology in its folder."""

import hashlib
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthorn_ctl.cluster import layout
from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, write_whole
from posthorn_ctl.cluster.options import UpOptions
from posthorn_ctl.topology import description
from posthorn_ctl.topology.topology import Node


@dataclass(frozen=True, slots=True)
class Asked:
    """`name` and `digest` are the topology's, "" without one."""

    nodes: Sequence[Node]
    name: str = ""
    digest: str = ""

    def document(self, attempt: int = 0, error: str = "") -> dict[str, Any]:
        """How cluster.json tells of it; `attempt` counts the changes of this life of the cluster."""
        return {"name": self.name, "digest": self.digest, "attempt": attempt, "error": error}


def at_start(folder: DataFolder, options: UpOptions) -> Asked:
    """What the command line asks for; its topology is kept in the folder. Raises ClusterError."""
    if options.topology is None:
        with suppress(FileNotFoundError):
            folder.topology.unlink()
        return Asked(layout.numbered(layout.services_of_nodes(options.nodes, options.scale, options.services)))
    keep(folder, options.topology)
    return later(folder)


def keep(folder: DataFolder, path: Path) -> None:
    """Lay a description into the folder, if it is a good one. Raises ClusterError."""
    description.read(path)
    try:
        write_whole(folder.topology, path.read_text(encoding="utf-8"), mode=0o644)
    except (OSError, UnicodeDecodeError) as error:
        raise ClusterError(f"{path} cannot be kept in {folder.path}: {error}", code=2) from None


def later(folder: DataFolder) -> Asked:
    """What the topology in the folder asks for. Raises ClusterError."""
    found = description.read(folder.topology)
    return Asked(found.nodes, found.name, digest(folder))


def digest(folder: DataFolder) -> str:
    """Of the topology in the folder, in hex; "" when there is none."""
    with suppress(OSError):
        return hashlib.sha256(folder.topology.read_bytes()).hexdigest()
    return ""
