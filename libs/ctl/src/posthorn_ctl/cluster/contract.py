"""cluster.json (docs/cluster-json.md): what a tool needs to talk to a local cluster. Mode 0600, replaced as a whole."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from posthorn_ctl.cluster.folder import DataFolder, write_whole
from posthorn_ctl.cluster.layout import Layout
from posthorn_ctl.cluster.options import S3Place

State = Literal["starting", "ready", "stopping", "stopped"]


@dataclass(frozen=True, slots=True)
class Running:
    """A process: `node` is 0 for the parts that belong to no node (postgresql, kafka)."""

    node: int
    service: str
    pid: int


@dataclass(frozen=True, slots=True)
class Description:
    """Everything in cluster.json but the state and the processes."""

    name: str
    regions: Mapping[int, str]
    """By node."""
    layout: Layout
    accounts: Mapping[str, str] = field(repr=False)
    dsn: str = field(repr=False)
    bus: Mapping[str, Any]
    blobs: Mapping[str, Any] = field(repr=False)
    sink: Mapping[str, Any]
    topology: Mapping[str, Any] = field(default_factory=dict)
    """The description it was last asked to follow: name, digest, attempt, error."""


def blobs_entry(place: "S3Place | str") -> dict[str, Any]:
    """How cluster.json names the blob store; a text is a folder."""
    if isinstance(place, str):
        return {"kind": "fs", "path": place}
    return {
        "kind": "s3",
        "endpoint": place.endpoint,
        "bucket": place.bucket,
        "region": place.region,
        "access_key": place.access_key,
        "secret_key": place.secret_key,
    }


def document(
    about: Description, state: State, pid: int, processes: Sequence[Running], drained: Sequence[tuple[int, str]] = ()
) -> dict[str, Any]:
    """The content of cluster.json. `pid` is the process that runs the cluster; `drained` are by node and service."""
    return {
        "name": about.name,
        "state": state,
        "pid": pid,
        "nodes": [
            {"id": node.number, "region": about.regions.get(node.number, ""), "services": list(node.services)}
            for node in about.layout.nodes
        ],
        "endpoints": [
            {
                "node": endpoint.node,
                "service": endpoint.service,
                "protocol": endpoint.protocol,
                "host": endpoint.host,
                "port": endpoint.port,
                "tls": endpoint.tls,
                "url": endpoint.url,
            }
            for node in about.layout.nodes
            for endpoint in node.endpoints
        ],
        "accounts": [{"name": name, "password": password} for name, password in about.accounts.items()],
        "processes": [{"node": each.node, "service": each.service, "pid": each.pid} for each in processes],
        "drained": [{"node": node, "service": service} for node, service in drained],
        "postgres": {"dsn": about.dsn},
        "bus": dict(about.bus),
        "blobs": dict(about.blobs),
        "sink": dict(about.sink),
        "topology": dict(about.topology),
    }


def publish(folder: DataFolder, content: Mapping[str, Any]) -> None:
    """Replace cluster.json."""
    write_whole(folder.contract, json.dumps(content, indent=1) + "\n")
