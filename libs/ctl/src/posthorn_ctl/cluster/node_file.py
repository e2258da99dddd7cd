"""The settings file of each node of a local cluster: written at every start, so that options always hold."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, write_whole
from posthorn_ctl.cluster.layout import LISTENERS, Layout, NodePlan
from posthorn_ctl.cluster.options import S3Place
from posthorn_ctl.cluster.toml_text import Tree, merged, rendered
from posthorn_ctl.embedded import ports
from posthorn_node.settings import NodeSettings, SettingsError, load, validate
from posthorn_node.settings.processes import processors
from posthorn_node.settings.values import MOST_PROCESSES

CONNECTIONS = 360
"""Of the embedded database's 400; shared out among all processes."""
SINK_DOMAIN = "outside.test"
"""Mail to it goes to the port that cluster.json calls the sink, where the demonstration listens."""
HEADER = "# Written by `posthorn up` at every start: change it with --set section.key=value instead.\n\n"


@dataclass(frozen=True, slots=True)
class Surroundings:
    """What all nodes of a cluster share. `brokers` is empty on the peer-to-peer bus."""

    name: str
    secret: str = field(repr=False)
    dsn: str = field(repr=False)
    brokers: tuple[str, ...]
    blobs: Path | S3Place
    overrides: Mapping[str, Any] = field(default_factory=dict, repr=False)


def tree(folder: DataFolder, plan: NodePlan, layout: Layout, around: Surroundings) -> Tree:
    """The settings of one node, with the operator's overrides on top."""
    processes = sum(processes_asked(service, around.overrides) for node in layout.nodes for service in node.services)
    stores: Tree = {
        "postgres": {
            "type": "postgresql",
            "dsn": around.dsn,
            "pool": {"max-connections": max(4, min(20, CONNECTIONS // processes))},
        }
    }
    if isinstance(around.blobs, S3Place):
        stores["blobs"] = {
            "type": "s3",
            "endpoint": around.blobs.endpoint,
            "bucket": around.blobs.bucket,
            "region": around.blobs.region,
            "access-key": around.blobs.access_key,
            "secret-key": around.blobs.secret_key,
        }
    else:
        stores["blobs"] = {"type": "fs", "path": str(around.blobs)}
    if around.brokers:
        stores["kafka"] = {"type": "kafka", "bootstrap-servers": list(around.brokers)}
    own: Tree = {
        "cluster": {
            "name": around.name,
            "node-id": plan.number,
            **({"region": plan.region} if plan.region else {}),
            "coordinator": "kafka" if around.brokers else "peer-to-peer",
            "secret": around.secret,
        },
        "server": {
            "hostname": f"node{plan.number}.localhost",
            "data": str(folder.node(plan.number) / "data"),
            "drain-delay": "0s",
            "drain-limit": "10s",
            "stop-limit": "5s",
            "listener": _listeners(plan),
        },
        "storage": {"data": "postgres", "blob": "blobs"},
        "store": stores,
        "metrics": {"enable": True, "binds": {name: plan.health(name).address for name in plan.services}},
        "smtp-out": {"routes": {SINK_DOMAIN: f"{ports.LOOPBACK}:{layout.parts['sink']}"}},
        "log": {"level": "info", "format": "json"},
    }
    return merged(own, around.overrides)


def processes_asked(service: str, overrides: Mapping[str, Any]) -> int:
    """How many processes the overrides ask for; what they say wrong is for the service to tell."""
    tables = (overrides.get(service), overrides.get("server"))
    said = next((table["processes"] for table in tables if isinstance(table, Mapping) and "processes" in table), 1)
    return min(said, MOST_PROCESSES) if isinstance(said, int) and said > 0 else processors()


def _listeners(plan: NodePlan) -> Tree:
    """The node's listeners; on loopback a password may be sent without TLS."""
    spoken = {listener.protocol: listener.spoken for listener in LISTENERS}
    return {
        endpoint.protocol: {
            "protocol": spoken[endpoint.protocol],
            "bind": endpoint.address,
            "tls": endpoint.tls,
            "allow-plaintext-auth": True,
        }
        for endpoint in plan.endpoints
        if endpoint.protocol in spoken
    }


def path_of(folder: DataFolder, number: int) -> Path:
    """Where a node's file lies."""
    return folder.node(number) / "node.toml"


def written(folder: DataFolder, plan: NodePlan, layout: Layout, around: Surroundings) -> Path:
    """Write a node's file (mode 0600: it holds passwords) and return its path. Raises ClusterError."""
    path = path_of(folder, plan.number)
    try:
        (path.parent / "data").mkdir(parents=True, exist_ok=True, mode=0o700)
        write_whole(path, HEADER + rendered(tree(folder, plan, layout, around)))
    except OSError as error:
        raise ClusterError(f"{path} cannot be written: {error.strerror}", code=2) from None
    return path


def judged(path: Path, environ: Mapping[str, str]) -> NodeSettings:
    """Read a node's file as its processes will. Raises ClusterError with all problems, one per line."""
    try:
        found: NodeSettings = validate(load(path, environ), {"": NodeSettings})[""]
        return found
    except SettingsError as error:
        raise ClusterError(
            f"the settings are wrong (--set, or POSTHORN__... in the environment):\n{error}", code=2
        ) from None
