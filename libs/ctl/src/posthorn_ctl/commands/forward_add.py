"""`posthorn forward add`: mail of an account goes to other addresses."""

from typing import Annotated

import typer

from posthorn_ctl.commands.distribution import show
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = "Example: posthorn forward add ann@example.org ann@example.net --keep"


def add(
    address: Annotated[str, typer.Argument(help="The account's address, or an alias")],
    targets: Annotated[list[str], typer.Argument(help="Where its mail goes")],
    *,
    keep: Annotated[bool, typer.Option("--keep", help="The account keeps a copy.")] = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Pass mail on instead of storing it, or with --keep beside. The sender of the envelope is rewritten."""
    members = [*targets, *([address] if keep else [])]
    show(
        run(Door(data, dsn, config), lambda storage: storage.distributions.put("forward", address, members)),
        as_json=as_json,
    )
