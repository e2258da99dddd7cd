"""Opens the storage that an account or domain command works on: of a data folder, a DSN or a node's settings file.

Storage and settings are imported when they are needed: they take a second that `posthorn --help` need not wait for.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import DataFolder, at, holder
from posthorn_ctl.cluster.running import content_of
from posthorn_ctl.commands.data_option import DEFAULT_DATA
from posthorn_model.errors import AuthenticationFailed, PosthornError, Unavailable

if TYPE_CHECKING:
    from posthorn_node.settings import NodeSettings
    from posthorn_storage import Storage, StorageSettings

T = TypeVar("T")
DataChoice = Annotated[Path | None, typer.Option("--data", help="Data folder of a running cluster (default: ./data).")]
DsnChoice = Annotated[str | None, typer.Option("--dsn", help="The database itself, instead of --data.")]
ConfigChoice = Annotated[
    Path | None, typer.Option("--config", envvar="POSTHORN_CONFIG", help="A node's settings file, instead of --data.")
]
JsonChoice = Annotated[bool, typer.Option("--json", help="Answer as JSON.")]


@dataclass(frozen=True, slots=True)
class Door:
    """Which storage. The first one given of `dsn`, `data`, `config` counts; none: ./data."""

    data: Path | None
    dsn: str | None
    config: Path | None

    @property
    def folder(self) -> DataFolder | None:
        """The data folder, when that is what was chosen."""
        if self.dsn is not None or (self.data is None and self.config is not None):
            return None
        return at(self.data or DEFAULT_DATA)

    def settings(self) -> StorageSettings:
        """How to open it. Raises ClusterError."""
        from posthorn_storage import StorageSettings

        if self.dsn is not None:
            # The directory's commands never touch a blob: deleted mail is collected by the cluster itself.
            return StorageSettings(dsn=self.dsn, blobs=None, pool_size=2)
        if self.folder is not None:
            return _of_folder(self.folder)
        assert self.config is not None
        return _of_config(self.config)


def _of_folder(folder: DataFolder) -> StorageSettings:
    from posthorn_storage import FsSettings, S3Settings, StorageSettings

    content = content_of(folder)
    dsn = content["postgres"]["dsn"]
    if holder(folder) is None:
        raise ClusterError(
            f"the cluster in {folder.path} is not running: start it with `posthorn up --data {folder.path}`", code=3
        )
    node = folder.node(1) / "node.toml"
    secrets = _settings(node).sealing_secrets() if node.is_file() else ()
    place = content["blobs"]
    if place["kind"] == "fs":
        return StorageSettings(dsn=dsn, blobs=FsSettings(Path(place["path"])), pool_size=2, secrets=secrets)
    names = ("endpoint", "bucket", "region", "access_key", "secret_key")
    blobs = S3Settings(**{name: place[name] for name in names})
    return StorageSettings(dsn=dsn, blobs=blobs, pool_size=2, secrets=secrets)


def _of_config(path: Path) -> StorageSettings:
    from posthorn_assembly import storage_settings
    from posthorn_node.settings import SettingsError

    settings = _settings(path)
    try:
        return replace(storage_settings(settings), pool_size=2)
    except SettingsError as error:
        raise ClusterError(f"{path}: {len(error.problems)} problem(s) in the settings\n{error}", code=2) from None


def _settings(path: Path) -> NodeSettings:
    from posthorn_node.settings import NodeSettings, SettingsError, load, validate

    try:
        found: NodeSettings = validate(load(path, os.environ), {"": NodeSettings})[""]
        return found
    except SettingsError as error:
        raise ClusterError(f"{path}: {len(error.problems)} problem(s) in the settings\n{error}", code=2) from None


@asynccontextmanager
async def opened(door: Door) -> AsyncIterator[Storage]:
    """The open storage; what the domain refuses becomes a ClusterError with advice."""
    from posthorn_storage import Storage

    try:
        storage = await Storage.open(door.settings())
        try:
            yield storage
        finally:
            await storage.close()
    except PosthornError as error:
        raise ClusterError(advised(error)) from error


def run(door: Door, work: Callable[[Storage], Awaitable[T]]) -> T:
    """Run one piece of work on the storage. Raises ClusterError."""

    async def main() -> T:
        async with opened(door) as storage:
            return await work(storage)

    return asyncio.run(main())


def advised(error: PosthornError) -> str:
    """A domain error with what to do about it."""
    fields = error.fields
    if "domain" in fields and "is not one of" in error.public:
        return f"{fields['domain']} is no domain of this cluster: `posthorn domain add {fields['domain']}` adds it"
    if isinstance(error, AuthenticationFailed):
        return "that password cannot be used: it must have 1 to 1024 bytes"
    if isinstance(error, Unavailable) and "shard" in fields:
        return f"{fields['shard']}: {error.public} (`posthorn migrate` registers the shards of the settings)"
    if isinstance(error, Unavailable):
        return f"{error.public}: is the database running? (`posthorn status`)"
    about = fields.get("address") or fields.get("domain") or fields.get("alias")
    return f"{about}: {error.public}" if about else error.public
