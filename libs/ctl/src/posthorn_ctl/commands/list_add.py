"""`posthorn list add`: a mailing list."""

from enum import StrEnum
from typing import Annotated

import typer

from posthorn_ctl.commands.distribution import show
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

EPILOG = (
    "Example: posthorn list add news@example.org ann@example.org eve@example.net "
    "--owner ann@example.org --name 'Our news' --posting members"
)


class Posting(StrEnum):
    """Who may write to a list."""

    ANYONE = "anyone"
    MEMBERS = "members"
    NOBODY = "nobody"


def add(
    address: Annotated[str, typer.Argument(help="NAME@DOMAIN of the list")],
    members: Annotated[list[str] | None, typer.Argument(help="Addresses, of the cluster or not")] = None,
    *,
    owner: Annotated[str, typer.Option(help="Who gets its bounces, and mail to NAME-owner@DOMAIN.")],
    name: Annotated[str, typer.Option(help="For people, shown in List-Id.")] = "",
    posting: Annotated[Posting, typer.Option(help="Who may write to it; the owner always may.")] = Posting.ANYONE,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Make a list, or add members to it and change the rest."""
    made = run(
        Door(data, dsn, config),
        lambda storage: storage.distributions.put(
            "list", address, members or [], name=name, owner=owner, posting=posting.value
        ),
    )
    show(made, as_json=as_json)
