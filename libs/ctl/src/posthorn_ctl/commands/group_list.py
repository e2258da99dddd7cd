"""`posthorn group list`: all groups with their members."""

from posthorn_ctl.commands.distribution import pages, show_all
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn group list --json"


def list_(
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Show the groups of the cluster."""
    show_all(run(Door(data, dsn, config), lambda storage: pages(storage, "group")), as_json=as_json)
