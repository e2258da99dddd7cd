"""`posthorn certificate import`: a certificate and its key from files into the database, for all nodes."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, JsonChoice, run

if TYPE_CHECKING:
    from posthorn_storage import Storage

EPILOG = (
    "Example: posthorn certificate import example.org --certificate fullchain.pem --private-key privkey.pem "
    "--config node.toml"
)
MAX_FILE = 1 << 20


def import_(
    name: Annotated[str, typer.Argument(help="What it is called in lists, logs and metrics.")],
    *,
    certificate: Annotated[Path, typer.Option(help="PEM file with the chain, the server's own certificate first.")],
    private_key: Annotated[Path, typer.Option(help="PEM file of its key, not encrypted.")],
    default: Annotated[
        bool, typer.Option("--default", help="Show it to clients that ask for no host we know.")
    ] = False,
    data: DataChoice = None,
    config: ConfigChoice = None,
    as_json: JsonChoice = False,
) -> None:
    """Store a certificate, its key sealed; all nodes show it within 15 seconds. One of that name is replaced."""
    from posthorn_node.certificates import parsed
    from posthorn_node.errors import TlsError
    from posthorn_node.tls import usable
    from posthorn_storage.certificates import NewCertificate

    try:
        found = usable(parsed(name, _content(certificate), _content(private_key), default=default))
    except TlsError as error:
        raise ClusterError(f"{certificate} and {private_key} cannot be used: {error}") from None
    if not found.names:
        raise ClusterError(f"{certificate} is for no host name: it has no subject alternative name of type DNS")
    new = NewCertificate(
        name=name,
        names=found.names,
        chain=found.chain,
        key=found.key,
        issuer=found.issuer,
        not_before=datetime.fromtimestamp(found.not_before, UTC),
        not_after=datetime.fromtimestamp(found.not_after, UTC),
        default=default,
    )

    async def work(storage: Storage) -> None:
        await storage.certificates.put(new)

    run(Door(data, None, config), work)
    if as_json:
        print(json.dumps({"name": name, "names": sorted(found.names), "not_after": new.not_after.isoformat()}))
    else:
        print(f"{name} is stored, for {', '.join(sorted(found.names))}, until {new.not_after:%Y-%m-%d}")


def _content(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            return file.read(MAX_FILE + 1)
    except OSError as error:
        raise ClusterError(f"{path} cannot be read: {error.strerror}", code=2) from None
