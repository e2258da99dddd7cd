"""`posthorn dkim remove`: a key out of use, at once."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.commands.confirmation import YesOption, confirm
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = "Example: posthorn dkim remove example.org rsa-20260131 --yes --config node.toml"


def remove(
    domain: Annotated[str, typer.Argument(help="The domain whose mail is signed.")],
    selector: Annotated[str, typer.Argument(help="As `posthorn dkim list` shows it.")],
    *,
    yes: YesOption = False,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Forget a private key. Mail that it signed cannot be checked once its record is out of DNS."""
    confirm(f"Remove the DKIM key {selector} of {domain}?", yes=yes)
    run(Door(data, dsn, config), lambda storage: _remove(storage, domain, selector))
    print(json.dumps({"removed": selector}) if as_json else f"{selector} removed; its record may leave DNS")


async def _remove(storage: Storage, domain: str, selector: str) -> None:
    from posthorn_storage.directory.addresses import domain_key

    await storage.dkim.remove(domain_key(domain), selector.lower())
