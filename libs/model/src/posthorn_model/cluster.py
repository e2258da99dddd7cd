"""Nouns of the cluster: processes of nodes as the node table shows them."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from posthorn_model.ids import NodeId

SERVICES = ("smtp-in", "smtp-out", "imap", "jmap", "dav", "maintenance")
"""The six services, by their folder's name."""

DRAIN = "drain"
"""The wish that a process finishes what it holds and ends."""


@dataclass(frozen=True, slots=True)
class Process:
    """One process of one service on one node."""

    node: NodeId
    service: str
    boot: str
    hostname: str
    region: str
    state: str
    """"starting", "ready", "draining" or "left"."""
    address: Mapping[str, Any]
    load: float
    started_at: datetime
    seen_at: datetime
    live: bool
    """Its heartbeat is recent, by the database's clock."""
    wish: str = ""
    """What the operator wants of it: "" or DRAIN."""


@dataclass(frozen=True, slots=True)
class Standing:
    """What a heartbeat found out. `held`: the node id still belongs to the caller's node."""

    held: bool
    wish: str = ""
    """As of Process."""
    directory: int = 0
    """Counts changes of the directory: domains, accounts, aliases, passwords."""
    certificates: int = 0
    """Counts changes of the certificates in the database."""
    bans: int = 0
    """Counts changes of the banned networks."""
