"""`posthorn ban add`: no node lets clients of a network in any more."""

from __future__ import annotations

import ipaddress
import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage.bans import Network

EPILOG = 'Example: posthorn ban add 192.0.2.0/24 --for 12h --reason "guesses passwords" --config node.toml --json'


def add(
    network: Annotated[str, typer.Argument(help="An address or a network, such as 192.0.2.7 or 2001:db8:1:2::/64.")],
    *,
    duration: Annotated[
        str | None, typer.Option("--for", help='How long, such as "12h"; without it until the ban is lifted.')
    ] = None,
    reason: Annotated[str, typer.Option(help="For people who read the list.")] = "by the operator",
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Ban an address or a network. Every node keeps it out within a heartbeat (2 seconds, unless set otherwise)."""
    banned, seconds = network_of(network), seconds_of(duration)
    run(Door(data, dsn, config), lambda storage: storage.bans.put(banned, seconds, reason, "operator"))
    told = f"for {duration}" if duration else "until the ban is lifted"
    print(json.dumps({"banned": str(banned), "seconds": seconds}) if as_json else f"{banned} is banned {told}")


def network_of(text: str) -> Network:
    """An address is a network of one. Raises ClusterError."""
    try:
        return ipaddress.ip_network(text.strip(), strict=False)
    except ValueError:
        raise ClusterError(f"{text} is no address and no network: write it such as 192.0.2.7 or 192.0.2.0/24") from None


def seconds_of(duration: str | None) -> float | None:
    """From text like "12h"; None from None. Raises ClusterError."""
    if duration is None:
        return None
    from posthorn_node.settings import parse_duration

    try:
        seconds = parse_duration(duration)
    except ValueError:
        seconds = 0.0
    if not 1 <= seconds <= 366 * 86_400:
        raise ClusterError(f'{duration} is no time from 1s to 366d: write it such as "12h"')
    return seconds
