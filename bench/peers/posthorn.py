"""smtp-in and smtp-out as operators run them: PostgreSQL with fsync, log lines into a file."""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import asyncpg

from bench.cpu import parent_of
from bench.peers.peer import DOMAIN, Peer, recipients
from posthorn_ctl.embedded.ports import free_ports
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.dkim import Algorithm, NewDkimKey, made
from posthorn_storage.migrate import migrate
from posthorn_testkit.databases import Databases

PROCESSES = max(1, (os.cpu_count() or 1) // 2)
"""The other half of the cores is PostgreSQL's."""
READY_SECONDS = 60.0
SECRET = "0123456789abcdef0123456789abcdef"
TOML = """
[cluster]
name = "bench"
secret = "{secret}"
[server]
hostname = "mx.{domain}"
data = "{folder}"
drain-delay = 0
[server.listener."smtp"]
protocol = "smtp"
bind = "127.0.0.1:{port}"
reuse-port = true
[store."postgres"]
type = "postgresql"
dsn = "{dsn}"
[store."fs"]
type = "fs"
path = "{folder}/blobs"
[metrics]
bind = "127.0.0.1:0"
"""
COUNT = "SELECT coalesce(sum(total), 0)::bigint FROM mailbox"


@dataclass(frozen=True, slots=True)
class Place:
    """A database of its own and the settings of whatever runs over it."""

    dsn: str
    folder: Path
    config: Path
    port: int
    """Of smtp-in."""
    connection: "asyncpg.Connection[Any]"
    roots: list[int]
    """The processes that all its processes descend from, those of PostgreSQL among them."""


@contextlib.asynccontextmanager
async def place(
    server: str, settings: str = "", password: str = "not used for anything", *, keys: Sequence[Algorithm] = ()
) -> AsyncIterator[Place]:
    """A place on the server of this superuser's DSN; `settings` are more lines of TOML. Nothing runs there yet.

    All accounts have the one password; their domain has active DKIM keys of these algorithms.
    """
    databases = Databases(server, migrate)
    try:
        with databases.fresh() as dsn, tempfile.TemporaryDirectory(prefix="bench-posthorn-") as name:
            await _furnish(dsn, password, keys)
            folder, port = Path(name), free_ports(1)[0]
            config = folder / "node.toml"
            config.write_text(TOML.format(folder=folder, dsn=dsn, port=port, domain=DOMAIN, secret=SECRET) + settings)
            connection = await asyncpg.connect(dsn)
            try:
                yield Place(dsn, folder, config, port, connection, [parent_of(connection.get_server_pid())])
            finally:
                await connection.close()
    finally:
        databases.close()


@contextlib.asynccontextmanager
async def posthorn(
    server: str,
    settings: str = "",
    beside: Sequence[str] = (),
    *,
    processes: int = PROCESSES,
    keys: Sequence[Algorithm] = (),
) -> AsyncIterator[Peer]:
    """smtp-in, and a process of each service that is named beside it, over a place of their own."""
    async with contextlib.AsyncExitStack() as stack:
        here = await stack.enter_async_context(place(server, settings, keys=keys))
        for number, service in enumerate((*["smtp-in"] * processes, *beside)):
            log = here.folder / f"log{number}"
            here.roots.append(await stack.enter_async_context(process(service, here.config, log)))

        async def stored() -> int:
            return int(await here.connection.fetchval(COUNT))

        yield Peer(" and ".join(("smtp-in", *beside)), "127.0.0.1", here.port, stored, here.roots)


async def _furnish(dsn: str, password: str, keys: Sequence[Algorithm]) -> None:
    storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None))
    await storage.directory.add_domain(DOMAIN)
    for address in recipients():
        await storage.directory.add_account(address, password)
    storage.dkim.keys = KeyRing([SECRET])
    for algorithm in keys:
        await storage.dkim.add(NewDkimKey(DOMAIN, made(algorithm), active=True))
    await storage.close()


@contextlib.asynccontextmanager
async def process(service: str, config: Path, log: Path) -> AsyncIterator[int]:
    """A process of a service that is ready: its number."""
    program = Path(sys.executable).with_name(f"posthorn-{service}")
    with log.open("wb") as output:
        running = await asyncio.create_subprocess_exec(
            str(program), "--config", str(config), stdout=output, stderr=asyncio.subprocess.STDOUT
        )
    try:
        async with asyncio.timeout(READY_SECONDS):
            while b"ready" not in log.read_bytes():
                if running.returncode is not None:
                    raise RuntimeError(log.read_text(errors="replace")[-2000:])
                await asyncio.sleep(0.05)
        yield running.pid
    finally:
        if running.returncode is None:
            running.terminate()
        await running.wait()
