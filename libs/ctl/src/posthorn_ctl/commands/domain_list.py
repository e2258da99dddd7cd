"""`posthorn domain list`: the domains of this cluster."""

import json

from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn domain list --json"


def list_(
    *, data: DataChoice = None, dsn: DsnChoice = None, config: ConfigChoice = None, as_json: JsonChoice = False
) -> None:
    """List the domains of the cluster."""
    found = run(Door(data, dsn, config), lambda storage: storage.directory.domains())
    print(json.dumps(found) if as_json else "\n".join(found))
