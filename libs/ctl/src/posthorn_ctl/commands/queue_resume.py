"""`posthorn queue resume`: what was paused goes on."""

from __future__ import annotations

import json

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run
from posthorn_ctl.commands.queue_scope import AllChoice, DomainChoice, RouteChoice, scope_of, scope_text

EPILOG = "Example: posthorn queue resume example.net --config node.toml --json"


def resume(
    domain: DomainChoice = None,
    *,
    route: RouteChoice = None,
    everything: AllChoice = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """End a pause. What it stopped is let go within seconds; what is held stays held."""
    scope, name = scope_of(domain, route, everything=everything)
    run(Door(data, dsn, config), lambda storage: storage.queue.pauses.lift(scope, name))
    print(json.dumps({"scope": scope, "name": name}) if as_json else f"{scope_text(scope, name)} goes on")
