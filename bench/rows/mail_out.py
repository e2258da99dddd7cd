"""Mail for other servers, from its arrival to the sink's 250: smtp-in and smtp-out beside Postfix; the queue alone."""

import itertools
import statistics
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import asyncpg

from bench import cpu, runner
from bench.mailer import mail
from bench.peers.peer import DOMAIN, Missing, Peer
from bench.peers.postfix import relaying_postfix
from bench.peers.posthorn import Place, place, posthorn, process
from bench.peers.sink import check, sink
from bench.sending import Load
from posthorn_ctl.embedded.ports import free_ports
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import FsSettings, Storage, StorageSettings
from posthorn_storage.dkim import Algorithm
from posthorn_storage.queue.attempts import lease_of

Tell = Callable[[str], None]
LOADS = (Load(4_000, 20, 2_000), Load(50_000, 20, 1_000), Load(4_000, 20, 2_000, each=4))
SITES = 500
CONNECTIONS = 20
"""To one site at once."""
QUEUED = 2_000
BATCH = 50
WAITING = 1_000_000
SENDER = f"u1@{DOMAIN}"
SIGNING_LOADS = tuple(replace(load, sender=SENDER) for load in LOADS if not load.each)
# A sink ends with its last message, whose reply is then lost, and between two runs there is none: whoever tries again
# meanwhile must not leave it alone for long (Postfix tries again after a second here, too).
SETTINGS = """
[smtp-in.relay]
networks = ["127.0.0.0/8"]
sign = {sign}
[smtp-out]
tls = "none"
retry = ["1s"]
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
UNCHECKED = "SET LOCAL session_replication_role = replica"
"""A million looks at the one message that all rows belong to would take longer than to write them."""
SIGNED = "from the queue, signed with RSA-2048 and Ed25519"
BESIDE = f"from the queue, beside {WAITING:,} that wait"
CLAIMED = f"a claim of 20, beside {WAITING:,} that wait"
CLAIMS = 200
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
        load = self.load
        async with sink(self.sink_port, load.messages) as emptied:
            begun, busy = time.perf_counter(), cpu.seconds(self.peer.roots)
            await mail(self.peer, load, [f"r{number}@{site}" for number, site in enumerate(self.sites)])
            await emptied()
            seconds = time.perf_counter() - begun
        self.per_core.append(load.messages / max(cpu.seconds(self.peer.roots) - busy, 0.01))
        return load.messages / seconds

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
        return NewQueueMessage(SENDER, blob, [recipient], signing_domain=DOMAIN if signed else None)


async def results(server: str, tell: Tell, only: str = "") -> list[runner.Result]:
    """The rows whose titles contain `only`, on the PostgreSQL server of this superuser's DSN. Raises Missing."""
    check()
    found = []
    for signed, count in itertools.product((False, True), (1, SITES)):
        loads = SIGNING_LOADS if signed else LOADS
        titles = {_title(load, count, signed): load for load in loads}
        chosen = {title: load for title, load in titles.items() if only in title}
        if chosen:
            found += await _relayed(server, chosen, count, signed, tell)
    for title, rows in ((SIGNED, _signed), (BESIDE, _beside), (CLAIMED, _claimed)):
        if only in title:
            found.append(await rows(server, title, tell))
    return found


async def _relayed(server: str, loads: Mapping[str, Load], count: int, signed: bool, tell: Tell) -> list[runner.Result]:
    """A row for each load by its title, all with the same two servers."""
    (port,) = free_ports(1)
    sites = [f"s{number}.bench.test" for number in range(count)]
    routes = {name: f"127.1.{number // 250}.{number % 250 + 1}:{port}" for number, name in enumerate(sites)}
    async with AsyncExitStack() as stack:
        keys: list[Algorithm] = ["rsa"] if signed else []
        settings = _settings(routes, signed=signed)
        own = await stack.enter_async_context(posthorn(server, settings, ["smtp-out"], keys=keys))
        try:
            peer = relaying_postfix(routes, CONNECTIONS, signed=signed)
            other: Peer | None = await stack.enter_async_context(peer)
        except Missing as reason:
            tell(f"left out: {reason}")
            other = None
        for each in (own, other) if signed else ():
            if each is not None:
                await _see_signature(each, sites[0], port)
        return [await _row(title, load, own, other, sites, port, tell) for title, load in loads.items()]


async def _see_signature(peer: Peer, site: str, port: int) -> None:
    """Raises RuntimeError where a message reaches the sink without a signature."""
    with TemporaryDirectory(prefix="bench-sink-") as name:
        folder = Path(name)
        folder.chmod(0o777)
        async with sink(port, 1, folder) as emptied:
            await mail(peer, Load(1_000, 1, 1, sender=SENDER), [f"r@{site}"])
            await emptied()
        (content,) = [path.read_bytes() for path in folder.iterdir()]
    if f"d={DOMAIN};".encode() not in content:
        raise RuntimeError(f"{peer.name} does not sign:\n{content.decode(errors='replace')}")


async def _signed(server: str, title: str, tell: Tell) -> runner.Result:
    async with sender(server) as one:

        async def signed() -> float:
            return await one.sent(signed=True)

        return await _from_the_queue(title, signed, one.sent, tell)


async def _beside(server: str, title: str, tell: Tell) -> runner.Result:
    async with sender(server) as plain, sender(server, waiting=WAITING) as full:
        return await _from_the_queue(title, full.sent, plain.sent, tell)


async def _from_the_queue(title: str, measure: runner.Measure, reference: runner.Measure, tell: Tell) -> runner.Result:
    note = f"{QUEUED:,} messages of 4 KB for one site, from the first one queued on"
    return await runner.run(runner.Row(title, "messages/s", True, measure, reference, "without", 3, note), tell)


async def _claimed(server: str, title: str, tell: Tell) -> runner.Result:
    async with claims(server) as plain, claims(server, waiting=WAITING) as full:
        note = f"mean of {CLAIMS} that find as many as they may"
        return await runner.run(runner.Row(title, "ms", False, full, plain, "without", 5, note), tell)


def _title(load: Load, sites: int, signed: bool) -> str:
    many = ", signed with RSA-2048" if signed else f", {load.each} a connection" if load.each else ""
    return f"relayed, {load.size // 1000} KB, {sites} site{'s' if sites > 1 else ''}{many}"


def _settings(routes: Mapping[str, str], *, signed: bool = False) -> str:
    lines = "\n".join(f'"{domain}" = "{to}"' for domain, to in routes.items())
    sign = str(signed).lower()
    return SETTINGS.format(connections=CONNECTIONS, sign=sign, routes=f"[smtp-out.routes]\n{lines}")


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
async def sender(server: str, *, waiting: int = 0) -> AsyncIterator[Sender]:
    """smtp-out alone, with a queue that the library fills, beside so many recipients that wait for later."""
    (port,), site = free_ports(1), "s0.bench.test"
    async with (
        _queue(server, _settings({site: f"127.1.0.1:{port}"}), waiting) as (here, storage, connection),
        process("smtp-out", here.config, here.folder / "log"),
    ):
        yield Sender(here, storage, connection, site, port)


@asynccontextmanager
async def claims(server: str, *, waiting: int = 0) -> AsyncIterator[runner.Measure]:
    """Milliseconds of a claim from a queue that nobody sends from, with as much due as a claim may take."""
    site, most = "s0.bench.test", 20
    async with _queue(server, _settings({}), waiting) as (_, storage, connection):
        blob = await storage.blobs.prepare(b"Subject: due\r\n\r\n")
        due = [NewQueueMessage(SENDER, blob, [NewRecipient(f"r{n}@{site}", site)]) for n in range(most)]
        async with connection.transaction():
            await storage.queue.enqueue_in(connection, due)
        shard = storage.queue.shard_of(site)
        key = lease_of(shard)
        epoch = (await storage.leases.acquire([key], "bench", 3_600))[key]

        async def measure() -> float:
            begun = time.perf_counter()
            for _ in range(CLAIMS):
                if len(await storage.queue.claim(shard, epoch, most)) != most:
                    raise RuntimeError("a claim that does not find what is due")
            return (time.perf_counter() - begun) * 1000 / CLAIMS

        yield measure


@asynccontextmanager
async def _queue(
    server: str, settings: str, waiting: int
) -> AsyncIterator[tuple[Place, Storage, "asyncpg.Connection[asyncpg.Record]"]]:
    async with AsyncExitStack() as stack:
        here = await stack.enter_async_context(place(server, settings, keys=["rsa", "ed25519"]))
        storage = await Storage.open(StorageSettings(dsn=here.dsn, blobs=FsSettings(here.folder / "blobs")))
        stack.push_async_callback(storage.close)
        connection = await asyncpg.connect(here.dsn)
        stack.push_async_callback(connection.close)
        if waiting:
            async with connection.transaction():
                await connection.execute(UNCHECKED)
                await connection.execute(LATER, waiting, storage.queue.shards)
            await connection.execute("VACUUM ANALYZE queue_recipient")
        yield here, storage, connection
