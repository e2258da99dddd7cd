"""`posthorn dkim add`: a new key for a domain, or one that is there already."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.dkim_record import described
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage
    from posthorn_storage.dkim import DkimKey, PrivateKey

EPILOG = "Example: posthorn dkim add example.org --algorithm ed25519 --config node.toml"


def add(
    domain: Annotated[str, typer.Argument(help="The domain whose mail is signed.")],
    *,
    algorithm: Annotated[
        Literal["rsa", "ed25519"], typer.Option(help="rsa is what everybody checks; ed25519 goes beside it.")
    ] = "rsa",
    selector: Annotated[str, typer.Option(help="Its name in DNS; by default of algorithm and day.")] = "",
    private_key: Annotated[
        Path | None, typer.Option(help="PEM file with a key of your own, RSA or Ed25519, instead of a new one.")
    ] = None,
    active: Annotated[
        bool, typer.Option("--active", help="Sign with it at once: its record is in DNS already.")
    ] = False,
    data: DataChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Store a key, its private part sealed, and print its TXT record. It signs once that was seen in DNS."""
    from posthorn_storage.dkim import imported, made

    key = made(algorithm) if private_key is None else imported(_content(private_key))
    stored = run(Door(data, None, config), lambda storage: _add(storage, domain, key, selector, active=active))
    told = described(stored)
    if as_json:
        print(json.dumps({"domain": stored.domain, "state": stored.state, "algorithm": stored.algorithm, **told}))
    else:
        print(told["line"])


async def _add(storage: Storage, domain: str, key: PrivateKey, selector: str, *, active: bool) -> DkimKey:
    from posthorn_storage.dkim import NewDkimKey

    return await storage.dkim.add(NewDkimKey(domain, key, selector, active))


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(1 << 16)
    except OSError as error:
        raise ClusterError(f"{path} cannot be read: {error.strerror}", code=2) from None
