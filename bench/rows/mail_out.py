"""Mail for other servers, from its arrival to the sink's 250: smtp-in and smtp-out beside Postfix; the queue alone."""

import asyncio
import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncpg

from bench import cpu, runner
from bench.peers.peer import Missing, Peer
from bench.peers.postfix import relaying_postfix
from bench.peers.posthorn import Place, place, posthorn, process
from bench.peers.sink import check, sink
from bench.sending import Load, source
from bench.sending import check as check_source
from posthorn_ctl.embedded.ports import free_ports
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.dkim import NewDkimKey, made

Tell = Callable[[str], None]
LOADS = (Load(4_000, 20, 2_000), Load(50_000, 20, 1_000))
SITES = 500
SOURCES = 10
"""Processes of the generator at once."""
CONNECTIONS = 20
"""To one site at once."""
QUEUED = 2_000
BATCH = 50
WAITING = 1_000_000
SECRET = "0123456789abcdef0123456789abcdef"
"""As in the settings of the place."""
SENDER = "u1@example.org"
SETTINGS = """
[smtp-in.relay]
networks = ["127.0.0.0/8"]
[smtp-out]
tls = "none"
connections-per-site = {connections}
{routes}
"""
LATER = """
WITH made AS (
    INSERT INTO queue_message (sender, blob_key, size, smtputf8, eight_bit)
    VALUES ('later@example.org', '\\x00', 1, false, false) RETURNING id)
INSERT INTO queue_recipient (message_id, shard, due, state, site, address)
SELECT made.id, n % $2, now() + interval '1 day', 0, 'later.example.net', n || '@later.example.net'
FROM made, generate_series(1, $1::int) AS n
"""
SIGNED = "from the queue, signed with RSA-2048 and Ed25519"
BESIDE = f"from the queue, beside {WAITING:,} that wait"
_serial = itertools.count()


@dataclass(slots=True)
class Relayed:
    """One server under one load: messages per second of each run, and per CPU second."""

    peer: Peer
    load: Load
    sites: Sequence[str]
    sink_port: int
    per_core: list[float] = field(default_factory=list)

    async def __call__(self) -> float:
        load, sources = self.load, min(len(self.sites), SOURCES)
        parts = max(len(self.sites), SOURCES)
        share = replace(load, sessions=max(1, load.sessions // sources), messages=load.messages // parts)
        turn = asyncio.Semaphore(SOURCES)

        async def one(number: int) -> None:
            async with turn:
                await source(self.peer, share, f"r{number}@{self.sites[number % len(self.sites)]}")

        async with sink(self.sink_port, share.messages * parts) as emptied:
            begun, busy = time.perf_counter(), cpu.seconds(self.peer.roots)
            await asyncio.gather(*(one(number) for number in range(parts)))
            await emptied()
            seconds = time.perf_counter() - begun
        self.per_core.append(share.messages * parts / max(cpu.seconds(self.peer.roots) - busy, 0.01))
        return share.messages * parts / seconds

    def told(self) -> str:
        """For the note."""
        return f"{self.peer.name} {statistics.median(self.per_core[1:]):,.0f}"


@dataclass(frozen=True, slots=True)
class Sender:
    """smtp-out over a place of its own, and the library that fills its queue."""

    here: Place
    storage: Storage
    connection: "asyncpg.Connection[asyncpg.Record]"
    site: str
    sink_port: int

    async def sent(self, *, signed: bool = False) -> float:
        """Queue messages, and wait until the sink has all of them: messages per second."""
        async with sink(self.sink_port, QUEUED) as emptied:
            begun = time.perf_counter()
            for _ in range(QUEUED // BATCH):
                new = [await self._message(signed=signed) for _ in range(BATCH)]
                async with self.connection.transaction():
                    await self.storage.queue.enqueue_in(self.connection, new)
            await emptied()
            return QUEUED / (time.perf_counter() - begun)

    async def _message(self, *, signed: bool) -> NewQueueMessage:
        n = next(_serial)
        head = (
            f"From: <{SENDER}>\r\nTo: <r@{self.site}>\r\nSubject: n {n}\r\nMessage-ID: <{n}.{time.time_ns()}@x>\r\n\r\n"
        )
        blob = await self.storage.blobs.prepare(head.encode() + b"The quick brown fox jumps over it.\r\n" * 100)
        recipient = NewRecipient(f"r{n}@{self.site}", self.site)
        return NewQueueMessage(SENDER, blob, [recipient], signing_domain="example.org" if signed else None)


async def results(server: str, tell: Tell, only: str = "") -> list[runner.Result]:
    """The rows whose titles contain `only`, on the PostgreSQL server of this superuser's DSN. Raises Missing."""
    check()
    check_source()
    found = []
    for sites in ([f"s{number}.bench.test" for number in range(count)] for count in (1, SITES)):
        titles = {_title(load, len(sites)): load for load in LOADS if only in _title(load, len(sites))}
        if not titles:
            continue
        (port,) = free_ports(1)
        routes = {name: f"127.1.{number // 250}.{number % 250 + 1}:{port}" for number, name in enumerate(sites)}
        async with AsyncExitStack() as stack:
            own = await stack.enter_async_context(posthorn(server, _settings(routes), ["smtp-out"]))
            try:
                other: Peer | None = await stack.enter_async_context(relaying_postfix(routes, CONNECTIONS))
            except Missing as reason:
                tell(f"left out: {reason}")
                other = None
            for title, load in titles.items():
                found.append(await _row(title, load, own, other, sites, port, tell))
    if any(only in title for title in (SIGNED, BESIDE)):
        async with sender(server) as plain, sender(server) as full:
            if only in BESIDE:
                tell(f"queueing {WAITING:,} recipients for later")
                await full.connection.execute(LATER, WAITING, full.storage.queue.shards)
                await full.connection.execute("VACUUM ANALYZE queue_recipient")

            async def signed() -> float:
                return await plain.sent(signed=True)

            note = f"{QUEUED:,} messages of 4 KB for one site, from the first one queued on"
            rows = ((SIGNED, signed), (BESIDE, full.sent))
            found += [
                await runner.run(runner.Row(title, "messages/s", True, measure, plain.sent, "without", 3, note), tell)
                for title, measure in rows
                if only in title
            ]
    return found


def _title(load: Load, sites: int) -> str:
    return f"relayed, {load.size // 1000} KB, {sites} site{'s' if sites > 1 else ''}"


def _settings(routes: Mapping[str, str]) -> str:
    lines = "\n".join(f'"{domain}" = "{to}"' for domain, to in routes.items())
    return SETTINGS.format(connections=CONNECTIONS, routes=f"[smtp-out.routes]\n{lines}")


async def _row(
    title: str, load: Load, own: Peer, other: Peer | None, sites: Sequence[str], port: int, tell: Tell
) -> runner.Result:
    measure = Relayed(own, load, sites, port)
    reference = Relayed(other, load, sites, port) if other is not None else None
    row = runner.Row(title, "messages/s", True, measure, reference, other.name if other else "", runs=3)
    result = await runner.run(row, tell)
    told = ", ".join(each.told() for each in (measure, reference) if each is not None)
    return replace(result, note=f"messages per CPU second of all its processes: {told}")


@asynccontextmanager
async def sender(server: str) -> AsyncIterator[Sender]:
    """smtp-out alone, with a queue that the library fills."""
    (port,), site = free_ports(1), "s0.bench.test"
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(place(server, _settings({site: f"127.1.0.1:{port}"})))
        storage = await Storage.open(StorageSettings(dsn=here.dsn, blobs=FsSettings(here.folder / "blobs")))
        stack.push_async_callback(storage.close)
        storage.dkim.keys = KeyRing([SECRET])
        for algorithm in ("rsa", "ed25519"):
            await storage.dkim.add(NewDkimKey("example.org", made(algorithm), active=True))
        await stack.enter_async_context(process("smtp-out", here.config, here.folder / "log"))
        connection = await asyncpg.connect(here.dsn)
        stack.push_async_callback(connection.close)
        yield Sender(here, storage, connection, site, port)
