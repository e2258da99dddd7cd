"""What a pause is of: a domain, a route, or everything."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.queue_choice import site_named

if TYPE_CHECKING:
    from posthorn_storage.queue import Scope

DomainChoice = Annotated[
    str | None, typer.Argument(help='Destination domain, or "local" for mailboxes of the cluster.')
]
RouteChoice = Annotated[
    str | None, typer.Option(help='A relay as the settings of smtp-out have it: its name, or "host:port".')
]
AllChoice = Annotated[bool, typer.Option("--all", help="Everything.")]


def scope_of(domain: str | None, route: str | None, *, everything: bool) -> tuple[Scope, str]:
    """Scope and name. Raises ClusterError unless exactly one was chosen."""
    if (domain is not None) + (route is not None) + everything != 1:
        raise ClusterError("say one of: a domain, --route host:port, --all")
    if everything:
        return "everything", ""
    return ("route", (route or "").strip()) if domain is None else ("site", site_named(domain))


def scope_text(scope: str, name: str) -> str:
    """For people."""
    return "everything" if scope == "everything" else f"route {name}" if scope == "route" else name
