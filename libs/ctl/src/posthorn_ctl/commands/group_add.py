"""`posthorn group add`: an address whose mail goes to its members."""

from typing import Annotated

import typer

from posthorn_ctl.commands.distribution import show
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn group add team@example.org ann@example.org bob@example.org eve@example.net"


def add(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN of the group")],
    members: Annotated[list[str], typer.Argument(help="Addresses, of the cluster or not; groups and lists too")],
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Make a group, or add members to it. Members of the cluster may send from its address."""
    show(
        run(Door(data, dsn, config), lambda storage: storage.distributions.put("group", address, members)),
        as_json=as_json,
    )
