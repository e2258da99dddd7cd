"""`posthorn migrate`: brings a database to the schema of this release and makes the bucket, before services start."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, advised
from posthorn_model.errors import PosthornError, Unavailable

EPILOG = "Example: posthorn migrate --config node.toml --wait 60"


def migrate(
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the database and the blob store.")] = 60.0,
    as_json: JsonChoice = False,
) -> None:
    """Migrate the database. Safe to run again, and from several places at once; older services go on meanwhile."""
    door = Door(data, dsn, config)
    try:
        asyncio.run(_patiently(door, wait))
    except PosthornError as error:
        raise ClusterError(advised(error)) from error
    from posthorn_storage.version import known_revisions

    print(json.dumps({"schema": known_revisions()[0]}) if as_json else "the schema is up to date")


async def _patiently(door: Door, wait: float) -> None:
    from dataclasses import replace

    from posthorn_storage import S3Settings, Storage
    from posthorn_storage.migrate import migrate as migrate_database

    settings = door.settings()
    if isinstance(settings.blobs, S3Settings):
        settings = replace(settings, blobs=replace(settings.blobs, create_bucket=True))
    deadline = asyncio.get_running_loop().time() + wait
    while True:
        try:
            await migrate_database(settings.dsn)
            await (await Storage.open(settings)).close()
            return
        except Unavailable:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(1.0)
