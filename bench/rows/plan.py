"""What `posthorn plan` reckons with: processor time by unit of work, memory and disk. Not rates, which the load shares.

Processor time is that of the processes (/proc), so that a busy machine changes it little; the load generator does not
count. The medians of a run stand in libs/ctl/src/posthorn_ctl/plan/measured.json.
"""

import asyncio
import base64
import json
import os
import urllib.request
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from pathlib import Path

import asyncpg

from bench.cluster import Cluster
from bench.rows.smtp_in import expect, message
from bench.runner import Row
from posthorn_model.cluster import SERVICES
from posthorn_testkit.sink import Sink

MESSAGES = 1_000
SESSIONS = 10
LOOKS = 100
REQUESTS = 200
IDLE = 200
TICK = os.sysconf("SC_CLK_TCK")
WHERE_ALL_IS = "SELECT pg_database_size(current_database())"


def processor_seconds(pids: list[int]) -> float:
    """Processor time that the processes and all below them have used."""
    below: dict[int, list[int]] = {}
    spent: dict[int, float] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            below.setdefault(int(fields[1]), []).append(int(entry.name))
            # Own time, and that of children that have ended.
            spent[int(entry.name)] = sum(map(int, fields[11:15])) / TICK
    waiting, total = list(pids), 0.0
    while waiting:
        pid = waiting.pop()
        total += spent.get(pid, 0.0)
        waiting += below.get(pid, [])
    return total


def resident(pid: int) -> int:
    """Bytes of memory that a process has of its own."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) << 10 for line in lines if line.startswith("Private_"))


async def send(cluster: Cluster, protocol: str, recipients: list[str], count: int, login: bytes = b"") -> None:
    """So many messages of 4 kB over SESSIONS connections."""

    async def session(recipient: str, share: int) -> None:
        reader, writer = await asyncio.open_connection(*cluster.address(protocol))
        await expect(reader, b"220")
        writer.write(b"EHLO bench.invalid\r\n")
        await expect(reader, b"250")
        sender = "a@example.net"
        if login:
            writer.write(b"AUTH PLAIN " + base64.b64encode(login) + b"\r\n")
            await expect(reader, b"235")
            sender = login.split(b"\0")[1].decode()
        for _ in range(share):
            writer.write(f"MAIL FROM:<{sender}>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
            for code in (b"250", b"250", b"354"):
                await expect(reader, code)
            writer.write(message() + b".\r\n")
            await expect(reader, b"250")
        writer.close()

    await asyncio.gather(*(session(recipients[n % len(recipients)], count // SESSIONS) for n in range(SESSIONS)))


async def imap(cluster: Cluster, *commands: str, account: int = 0) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    """A logged-in connection on which these commands were answered."""
    name, password = cluster.accounts[account]
    reader, writer = await asyncio.open_connection(*cluster.address("imap"), limit=1 << 22)
    await reader.readline()
    for n, text in enumerate((f'LOGIN "{name}" "{password}"', *commands)):
        writer.write(f"t{n} {text}\r\n".encode())
        while not (line := await reader.readline()).startswith(f"t{n} ".encode()):
            if not line:
                raise RuntimeError("connection closed")
        if b" OK" not in line:
            raise RuntimeError(line)
    return reader, writer


@dataclass(frozen=True, slots=True)
class Costs:
    """What units of work cost the processes of a cluster."""

    cluster: Cluster
    rest: dict[int, int] = field(default_factory=dict)
    """Memory of a process before the first run."""

    def pids(self, service: str) -> list[int]:
        return [each["pid"] for each in self.cluster.description["processes"] if each["service"] == service]

    def of(self, service: str, count: int, work: Callable[[], Awaitable[None]]) -> Callable[[], Awaitable[float]]:
        """A measure: milliseconds of processor that each of `count` units of `work` takes the service."""

        async def measure() -> float:
            before = processor_seconds(self.pids(service))
            await work()
            return (processor_seconds(self.pids(service)) - before) * 1000 / count

        return measure

    async def receive(self) -> None:
        await send(self.cluster, "smtp", [name for name, _ in self.cluster.accounts], MESSAGES)

    async def deliver(self) -> None:
        place, (name, password) = self.cluster.description["sink"], self.cluster.accounts[0]
        sink = Sink(host=place["host"])
        sink.port = place["port"]
        async with sink:
            login = f"\0{name}\0{password}".encode()
            await send(self.cluster, "submission", [f"bob@{place['domain']}"], MESSAGES, login)
            await sink.wait(MESSAGES, timeout=300)
            await asyncio.sleep(1)

    async def look(self) -> None:
        for _ in range(LOOKS):
            _, writer = await imap(self.cluster, "SELECT INBOX", "FETCH 1:20 (FLAGS ENVELOPE)", "NOOP")
            writer.close()

    async def jmap(self) -> None:
        address = "http://{}:{}".format(*self.cluster.address("jmap"))
        found = await asyncio.to_thread(self.ask, address + "/jmap/session", None, "application/json", "GET")
        account = next(iter(json.loads(found)["accounts"]))
        back = {"resultOf": "q", "name": "Email/query", "path": "/ids"}
        calls = [
            ["Email/query", {"accountId": account, "limit": 20}, "q"],
            ["Email/get", {"accountId": account, "#ids": back, "properties": ["subject", "from", "preview"]}, "g"],
        ]
        using = ["urn:ietf:params:jmap:core", "urn:ietf:params:jmap:mail"]
        body = json.dumps({"using": using, "methodCalls": calls}).encode()
        for _ in range(REQUESTS):
            await asyncio.to_thread(self.ask, address + "/jmap/api/", body, "application/json", "POST")

    async def dav(self) -> None:
        address = "http://{}:{}".format(*self.cluster.address("dav"))
        for _ in range(REQUESTS):
            await asyncio.to_thread(self.ask, f"{address}/dav/", b"", "application/xml", "PROPFIND")

    def ask(self, url: str, body: bytes | None, kind: str, method: str) -> bytes:
        """The answer to a request with the first account's login."""
        login = base64.b64encode(":".join(self.cluster.accounts[0]).encode()).decode()
        headers = {"Authorization": f"Basic {login}", "Content-Type": kind, "Depth": "1"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers, method=method), timeout=60) as answer:
            return bytes(answer.read())

    async def memory_per_connection(self) -> float:
        """Kilobytes."""
        (pid,) = self.pids("imap")
        # What a former run has given back serves the next one: counted from before the first.
        before = self.rest.setdefault(pid, resident(pid))
        held = []
        for n in range(IDLE):
            reader, writer = await imap(self.cluster, "SELECT INBOX", account=n % 2)
            writer.write(b"i IDLE\r\n")
            await reader.readline()
            held.append(writer)
        grown = resident(pid) - before
        for writer in held:
            writer.close()
        return grown / IDLE / 1024

    async def at_rest(self) -> float:
        """Megabytes."""
        return max(resident(pid) for service in SERVICES for pid in self.pids(service)) / (1 << 20)

    async def database_per_message(self) -> float:
        """Kilobytes."""
        connection = await asyncpg.connect(self.cluster.dsn)
        before = await connection.fetchval(WHERE_ALL_IS)
        await self.receive()
        grown = await connection.fetchval(WHERE_ALL_IS) - before
        await connection.close()
        return float(grown) / MESSAGES / 1024


def rows(cluster: Cluster) -> list[Row]:
    """The rows."""
    costs = Costs(cluster)

    def row(title: str, unit: str, measure: Callable[[], Awaitable[float]], note: str = "") -> Row:
        return Row(title, unit, False, measure, None, "", 3, note)

    def spent(title: str, note: str, service: str, count: int, work: Callable[[], Awaitable[None]]) -> Row:
        return row(title, "ms", costs.of(service, count, work), note)

    indexing, sent = "indexing, as far as it keeps up", "4 kB, sent, without TLS"
    query, disk = "Email/query and Email/get of 20", "4 kB, inline, with its index entries"
    receive, look = costs.receive, costs.look
    return [
        spent("smtp-in: processor of a message", "4 kB, received and stored", "smtp-in", MESSAGES, receive),
        spent("PostgreSQL: processor of a message", "its storing and indexing", "postgresql", MESSAGES, receive),
        spent("maintenance: processor of a message", indexing, "maintenance", MESSAGES, receive),
        spent("smtp-out: processor of a recipient", sent, "smtp-out", MESSAGES, costs.deliver),
        spent("imap: processor of a look", "log-in, SELECT, 20 envelopes, NOOP", "imap", LOOKS, look),
        spent("PostgreSQL: processor of a look", "the same, in the database", "postgresql", LOOKS, look),
        spent("jmap: processor of a request", query, "jmap", REQUESTS, costs.jmap),
        spent("dav: processor of a request", "PROPFIND of the root", "dav", REQUESTS, costs.dav),
        row("imap: memory of an idle connection", "kB", costs.memory_per_connection, f"{IDLE} in IDLE, without TLS"),
        row("memory of a process at rest", "MB", costs.at_rest, "the largest of the six services"),
        row("database: disk of a message", "kB", costs.database_per_message, disk),
    ]
