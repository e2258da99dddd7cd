"""`make idle`: what an idle client costs: thousands of TLS connections of one imap process, each waiting in IDLE.

Printed: the memory that is the process's own before the first connection and with all of them, and the difference for
each one. The clients are processes of their own, so that nothing of theirs is counted.

make idle ARGS="--connections 10000 --per-account 100"
"""

import argparse
import asyncio
import contextlib
import re
import resource
import ssl
import sys
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import uvloop

from posthorn_ctl.embedded.errors import PartError
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.migrate import migrate
from posthorn_storage.shards.registry import register
from posthorn_testkit.databases import Databases
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import running_service
from posthorn_testkit.servers import postgres_server

PASSWORD = "an idle one"
ASKED = 40_960
"""Octets of the process for one connection, at most."""
AT_ONCE = 20
"""Connections being made at a time."""
HELPERS = 2
SETTINGS = local("""
[cluster]
name = "idle"
node-id = 1
[server]
hostname = "node1.example.org"
data = "{folder}/node"
drain-delay = "0s"
[server.listener.imaps]
protocol = "imap"
bind = "127.0.0.1:0"
tls = "implicit"
max-connections = 100000
[imap.limits]
connections = 100000
connections-per-address = 100000
connections-per-account = 100000
[storage]
data = "postgres"
blob = "fs"
""")


def main() -> int:
    """Exit code 0: a connection costs no more than asked; 1: more; 3: a part it needs is missing."""
    parser = argparse.ArgumentParser(prog="make idle", description="The memory of idle TLS connections.")
    parser.add_argument("--connections", type=int, default=10_000)
    parser.add_argument("--per-account", type=int, default=100)
    parser.add_argument("--to", type=int, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.to:
        uvloop.run(be_clients(asked.to, asked.connections, asked.per_account))
        return 0
    if problem := allow_open_files(asked.connections + 1000):
        print(f"make idle: {problem}", file=sys.stderr)
        return 3
    try:
        with postgres_server() as server, tempfile.TemporaryDirectory(prefix="idle-") as folder:
            databases = Databases(server, migrate)
            with databases.fresh() as dsn:
                each = uvloop.run(measure(dsn, Path(folder), asked.connections, asked.per_account))
            databases.close()
    except PartError as error:
        print(f"make idle: {error}", file=sys.stderr)
        return 3
    return int(each > ASKED)


def allow_open_files(wanted: int) -> str:
    """Let this process, and those that it starts, have so many open files; says why when that is not allowed."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        return f"{wanted} open files are needed, {hard} are allowed: ulimit -n"
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    return ""


async def measure(dsn: str, folder: Path, connections: int, per_account: int) -> float:
    """Octets for each connection."""
    accounts = max(1, connections // per_account)
    await make_accounts(dsn, folder, accounts)
    config = folder / "node.toml"
    config.write_text(SETTINGS.format(folder=folder, dsn=dsn))
    async with running_service("posthorn_imap", config) as process:
        port = (await process.listening("imaps"))["port"]
        # Whatever is loaded at the first client is not what one more costs.
        async with clients(port, 2 * HELPERS, per_account):
            pass
        before = own_memory(process.pid)
        begun = asyncio.get_running_loop().time()
        async with clients(port, connections, per_account):
            seconds = asyncio.get_running_loop().time() - begun
            await asyncio.sleep(2)
            after = own_memory(process.pid)
            each = (after - before) / connections
            print(f"{connections} TLS connections in IDLE, {accounts} accounts, made in {seconds:.0f} s")
            print(f"the process: {before / 1e6:.1f} MB before, {after / 1e6:.1f} MB with them")
            print(f"each: {each / 1024:.1f} KiB, asked at most {ASKED / 1024:.0f} KiB")
            print(f"the whole process by their number: {after / connections / 1000:.1f} KB")
    return each


def own_memory(pid: int) -> int:
    """Octets of memory that nobody else has (PSS)."""
    text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    found = re.search(r"^Pss:\s+(\d+) kB", text, re.MULTILINE)
    assert found is not None
    return int(found[1]) * 1024


async def make_accounts(dsn: str, folder: Path, count: int) -> None:
    settings = StorageSettings(dsn=dsn, blobs=FsSettings(folder / "blobs"))
    await register(settings)
    storage = await Storage.open(settings)
    await storage.directory.add_domain("example.org")
    await storage.directory.add_accounts([(address(number), PASSWORD) for number in range(count)])
    await storage.close()


def address(number: int) -> str:
    return f"idle{number}@example.org"


@contextlib.asynccontextmanager
async def clients(port: int, connections: int, per_account: int) -> AsyncIterator[None]:
    """So many connections in IDLE while the block runs."""
    share = connections // HELPERS
    words = ("-m", "bench.idle", "--to", str(port), "--connections", str(share), "--per-account", str(per_account))
    pipe = asyncio.subprocess.PIPE
    helpers = [
        await asyncio.create_subprocess_exec(sys.executable, *words, stdin=pipe, stdout=pipe) for _ in range(HELPERS)
    ]
    try:
        for helper in helpers:
            assert helper.stdout is not None
            if await helper.stdout.readline() != b"ready\n":
                raise RuntimeError("clients could not connect")
        yield
    finally:
        for helper in helpers:
            assert helper.stdin is not None
            helper.stdin.close()
            await helper.wait()


async def be_clients(port: int, count: int, per_account: int) -> None:
    """Connect and wait in IDLE until the input ends."""
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    kept: list[asyncio.StreamWriter] = []
    numbers = iter(range(count))

    async def connect() -> None:
        for number in numbers:
            reader, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, limit=4096)
            await reader.readline()
            commands = (f'LOGIN {address(number // per_account)} "{PASSWORD}"', "SELECT INBOX")
            for tag, command in enumerate(commands):
                writer.write(f"{tag} {command}\r\n".encode())
                while not (line := await reader.readline()).startswith(f"{tag} ".encode()):
                    if not line:
                        raise ConnectionError(command)
                if b" OK" not in line:
                    raise RuntimeError(line)
            writer.write(b"i IDLE\r\n")
            while not (await reader.readline()).startswith(b"+"):
                pass
            kept.append(writer)

    await asyncio.gather(*(connect() for _ in range(AT_ONCE)))
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    for writer in kept:
        writer.transport.abort()


if __name__ == "__main__":
    raise SystemExit(main())
