"""What the demonstration needs to know of a cluster, read from cluster.json (docs/cluster-json.md)."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posthorn_model.errors import PosthornError


class DemoFailed(PosthornError):
    """A step did not show what it should have shown; the text says which and what to do next."""

    default = "the demonstration failed"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One address of one service on one node."""

    node: int
    service: str
    protocol: str
    host: str
    port: int
    tls: str
    url: str


@dataclass(frozen=True, slots=True)
class Login:
    """An account and its password."""

    name: str
    password: str


@dataclass(frozen=True, slots=True)
class Target:
    """A running cluster as a client sees it."""

    endpoints: tuple[Endpoint, ...]
    accounts: tuple[Login, ...]
    processes: tuple[tuple[int, str, int], ...]
    """(node, service, pid); empty where the cluster's processes are not ours to kill."""
    sink: tuple[str, int, str] | None
    """(host, port, domain): where to listen so that mail to `domain` arrives here."""

    def nodes(self, protocol: str) -> list[int]:
        """The ids of the nodes that serve `protocol`, ascending."""
        return sorted({endpoint.node for endpoint in self.endpoints if endpoint.protocol == protocol})

    def endpoint(self, protocol: str, *, node: int | None = None, without: int | None = None) -> Endpoint:
        """An endpoint of `protocol`: on `node`, or on any node but `without` when another one serves it.

        Raises DemoFailed when no node serves the protocol.
        """
        found = [e for e in self.endpoints if e.protocol == protocol and node in (None, e.node)]
        if not found:
            raise DemoFailed(f"no endpoint for {protocol} in cluster.json: is that service running?")
        others = [e for e in found if e.node != without]
        return (others or found)[0]


def load(path: Path) -> Target:
    """Read cluster.json. Raises DemoFailed when it is missing, unreadable or not of a cluster that is ready."""
    try:
        raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise DemoFailed(f"{path} is missing: start a cluster with `posthorn up` first, or name its --data") from error
    except (OSError, ValueError) as error:
        raise DemoFailed(f"{path} cannot be read: {error}") from error
    if raw.get("state") != "ready":
        raise DemoFailed(f"the cluster is {raw.get('state')!r}, not ready: see `posthorn status`")
    sink = raw.get("sink")
    target = Target(
        endpoints=tuple(
            Endpoint(e["node"], e["service"], e["protocol"], e["host"], e["port"], e["tls"], e.get("url") or "")
            for e in raw["endpoints"]
        ),
        accounts=tuple(Login(a["name"], a["password"]) for a in raw["accounts"]),
        processes=tuple((p["node"], p["service"], p["pid"]) for p in raw.get("processes", []) if p["node"]),
        sink=(sink["host"], sink["port"], sink["domain"]) if sink else None,
    )
    if len(target.accounts) < 2:
        raise DemoFailed("the demonstration needs two accounts in cluster.json: add one with `posthorn account add`")
    return target
