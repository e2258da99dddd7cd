"""smtp-in as operators run it: processes that share a port, PostgreSQL with fsync, log lines into a file."""

import asyncio
import contextlib
import os
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import asyncpg

from bench.cpu import parent_of
from bench.peers.peer import DOMAIN, Peer, recipients
from posthorn_ctl.embedded.ports import free_ports
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.migrate import migrate
from posthorn_testkit.databases import Databases

PROCESSES = max(1, (os.cpu_count() or 1) // 2)
"""The other half of the cores is PostgreSQL's."""
READY_SECONDS = 60.0
TOML = """
[cluster]
name = "bench"
secret = "0123456789abcdef0123456789abcdef"
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


@contextlib.asynccontextmanager
async def posthorn(server: str, settings: str = "") -> AsyncIterator[Peer]:
    """smtp-in on a database of its own of the server of this superuser's DSN; `settings` are more lines of TOML."""
    databases = Databases(server, migrate)
    try:
        with databases.fresh() as dsn, tempfile.TemporaryDirectory(prefix="bench-smtp-in-") as name:
            await _furnish(dsn)
            folder, port = Path(name), free_ports(1)[0]
            config = folder / "node.toml"
            config.write_text(TOML.format(folder=folder, dsn=dsn, port=port, domain=DOMAIN) + settings)
            connection = await asyncpg.connect(dsn)
            async with contextlib.AsyncExitStack() as stack:
                stack.push_async_callback(connection.close)
                roots = [parent_of(connection.get_server_pid())]
                for number in range(PROCESSES):
                    roots.append(await stack.enter_async_context(_process(config, folder / f"log{number}")))

                async def stored() -> int:
                    return int(await connection.fetchval(COUNT))

                yield Peer("smtp-in", "127.0.0.1", port, stored, roots)
    finally:
        databases.close()


async def _furnish(dsn: str) -> None:
    storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None))
    await storage.directory.add_domain(DOMAIN)
    for address in recipients():
        await storage.directory.add_account(address, "not used for anything")
    await storage.close()


@contextlib.asynccontextmanager
async def _process(config: Path, log: Path) -> AsyncIterator[int]:
    program = Path(sys.executable).with_name("posthorn-smtp-in")
    with log.open("wb") as output:
        process = await asyncio.create_subprocess_exec(
            str(program), "--config", str(config), stdout=output, stderr=asyncio.subprocess.STDOUT
        )
    try:
        async with asyncio.timeout(READY_SECONDS):
            while b"listening" not in log.read_bytes():
                if process.returncode is not None:
                    raise RuntimeError(log.read_text(errors="replace")[-2000:])
                await asyncio.sleep(0.05)
        yield process.pid
    finally:
        if process.returncode is None:
            process.terminate()
        await process.wait()
