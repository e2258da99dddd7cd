"""`posthorn migrate`: brings a database to the schema of this release and makes the bucket, before services start."""

from __future__ import annotations

import asyncio
import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.door import ConfigChoice, DataChoice, Door, DsnChoice, JsonChoice, advised
from posthorn_model.errors import PosthornError, Unavailable

if TYPE_CHECKING:
    from posthorn_storage.migrate import Progress, Status

EPILOG = "Example: posthorn migrate --config node.toml --wait 60   |   What would be done: posthorn migrate --status"


def migrate(
    *,
    data: DataChoice = None,
    dsn: DsnChoice = None,
    config: ConfigChoice = None,
    wait: Annotated[float, typer.Option(help="Seconds to wait for the database and the blob store.")] = 60.0,
    status: Annotated[bool, typer.Option("--status", help="Only tell what is done and what is pending.")] = False,
    as_json: JsonChoice = False,
) -> None:
    """Migrate the database. Safe to run again, and from several places at once; older services go on meanwhile.

    There is no way back to an older schema: none is needed, for the release before runs on the new one.
    With --status, exit code 0: this release can run on the database; 1: it cannot.
    """
    door = Door(data, dsn, config)
    try:
        if status:
            found = asyncio.run(_status(door))
            print(json.dumps(_values(found)) if as_json else _texts(found))
            raise typer.Exit(0 if all(one.standing.refusal is None for one in found.values()) else 1)
        asyncio.run(_patiently(door, wait, _Teller(quiet=as_json)))
    except PosthornError as error:
        raise ClusterError(advised(error)) from error
    from posthorn_storage.version import known_revisions

    print(json.dumps({"schema": known_revisions()[0]}) if as_json else "the schema is up to date")


class _Teller:
    """Tells progress on stderr, the same thing once."""

    def __init__(self, *, quiet: bool) -> None:
        self._quiet = quiet
        self._last = ""

    def __call__(self, progress: Progress) -> None:
        line = {
            "waiting": f"{progress.about} migrates now; waiting for it",
            "running": f"{progress.revision}: {progress.about}",
            "blocked": f"{progress.revision}: waiting for a lock without holding others up",
            "filling": f"{progress.revision}: {progress.rows:,} rows filled in",
            "done": "",
        }[progress.state]
        if line and line != self._last and not self._quiet:
            print(line, file=sys.stderr)
            self._last = line


async def _status(door: Door) -> dict[str, Status]:
    """Of each database by the name of its shard, the home first."""
    from posthorn_storage.migrate import status

    settings = door.settings()
    found = {settings.name: await status(settings.dsn)}
    return found | {shard.name: await status(shard.dsn) for shard in settings.shards}


def _values(found: dict[str, Status]) -> dict[str, Any]:
    home, *others = found
    return _value(found[home]) | {"shards": {name: _value(found[name]) for name in others}}


def _texts(found: dict[str, Status]) -> str:
    if len(found) == 1:
        return "\n".join(_text(one) for one in found.values())
    return "\n".join(f"{name}:\n{_text(one)}" for name, one in found.items())


def _value(found: Status) -> dict[str, Any]:
    pending = {step.number for step in found.pending}
    return {
        "schema": found.standing.current,
        "floor": found.standing.floor,
        "needed": found.revisions[-1].number,
        "can_run": found.standing.refusal is None,
        "migrating": found.holder,
        "revisions": [
            {
                "revision": step.number,
                "about": step.about,
                "pending": step.number in pending,
                "kind": "contract" if step.contract else "online" if step.online else "expand",
            }
            for step in found.revisions
        ],
    }


def _text(found: Status) -> str:
    pending = {step.number for step in found.pending}
    lines = [
        f"{'pending' if step.number in pending else 'done':8} {step.number} {step.about}" for step in found.revisions
    ]
    current = found.standing.current
    if current is not None and current > found.revisions[-1].number:
        lines.append(f"the database is at {current}, which is newer than this release knows")
    if found.holder is not None:
        lines.append(f"{found.holder} migrates it now")
    lines.append(found.standing.refusal or "this release can run on it")
    return "\n".join(lines)


async def _patiently(door: Door, wait: float, tell: _Teller) -> None:
    from dataclasses import replace

    from posthorn_storage import S3Settings, Storage
    from posthorn_storage.migrate import migrate as migrate_database
    from posthorn_storage.shards.registry import register

    settings = door.settings()
    if isinstance(settings.blobs, S3Settings):
        settings = replace(settings, blobs=replace(settings.blobs, create_bucket=True))
    deadline = asyncio.get_running_loop().time() + wait
    while True:
        try:
            for dsn in (settings.dsn, *(shard.dsn for shard in settings.shards)):
                await migrate_database(dsn, tell=tell)
            await register(settings)
            await (await Storage.open(settings)).close()
            return
        except Unavailable:
            if asyncio.get_running_loop().time() >= deadline:
                raise
            await asyncio.sleep(1.0)
