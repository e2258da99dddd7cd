"""`posthorn queue pause`: nothing is sent to a domain, over a route, or at all."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_choice import seconds_from
from posthorn_ctl.commands.queue_scope import AllChoice, DomainChoice, RouteChoice, scope_of, scope_text

EPILOG = 'Example: posthorn queue pause example.net --for 2h --reason "their relay is down" --config node.toml --json'


def pause(
    domain: DomainChoice = None,
    *,
    route: RouteChoice = None,
    everything: AllChoice = False,
    duration: Annotated[
        str | None, typer.Option("--for", help='How long, such as "2h"; without it until `posthorn queue resume`.')
    ] = None,
    reason: Annotated[str, typer.Option(help="For people who read the list, and for the time line.")] = "",
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Send nothing to a domain, over a route, or at all. Every smtp-out heeds it within a second."""
    scope, name = scope_of(domain, route, everything=everything)
    seconds = None if duration is None else seconds_from(duration)
    found = run(Door(data, dsn, config), lambda storage: storage.queue.pauses.put(scope, name, reason, seconds))
    if as_json:
        from posthorn_storage.queue.views import pause_view

        print(json.dumps(pause_view(found, 0)))
    else:
        until = "until it is resumed" if found.until is None else f"until {found.until.isoformat(' ', 'seconds')}"
        print(f"{scope_text(scope, name)} is paused {until}")
