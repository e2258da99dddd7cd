"""Durable local deliveries of smtp-in beside other servers, in one run, counted until they are in the mailboxes."""

import statistics
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field, replace

import asyncpg

from bench import runner
from bench.peers.bare_aiosmtpd import bare_aiosmtpd
from bench.peers.cyrus import postfix_cyrus
from bench.peers.dovecot import postfix_dovecot
from bench.peers.peer import Missing, Peer, recipients
from bench.peers.posthorn import posthorn
from bench.rows import large_mail
from bench.sending import Load, check, send
from bench.signed import SETTINGS, dns_server, signed_messages, signing_key

LOADS = (Load(4_000, 10, 2_000), Load(4_000, 50, 2_000), Load(50_000, 10, 1_000), Load(50_000, 50, 1_000))
BESIDE_CYRUS = 10
"""Sessions."""
JUDGED = (Load(4_000, 10, 1_000), Load(50_000, 10, 1_000))
TWICE = "two processes"
WARM = Load(4_000, 10, 200)
Tell = Callable[[str], None]


@dataclass(slots=True)
class Measured:
    """One server under one load: messages per second of each run, and per CPU second."""

    peer: Peer
    load: Load
    per_core: list[float] = field(default_factory=list)

    async def __call__(self) -> float:
        found = await send(self.peer, self.load, recipients())
        self.per_core.append(self.load.messages / max(found.busy, 0.01))
        return self.load.messages / found.seconds

    def told(self) -> str:
        """For the note."""
        return f"{self.peer.name} {statistics.median(self.per_core[1:]):,.0f}"


async def results(server: str, tell: Tell, only: str = "") -> list[runner.Result]:
    """The rows whose titles contain `only`, on the PostgreSQL server of this superuser's DSN.

    Raises Missing without the load generator.
    """
    check()
    async with AsyncExitStack() as stack:
        own = await stack.enter_async_context(posthorn(server))
        store = await stack.enter_async_context(_perhaps(postfix_dovecot, tell))
        other = await stack.enter_async_context(_perhaps(postfix_cyrus, tell))
        talk = await stack.enter_async_context(_perhaps(bare_aiosmtpd, tell))
        found = []
        for load in LOADS:
            pairs = [("SMTP in", own, store)]
            if other is not None and load.sessions == BESIDE_CYRUS:
                pairs.append(("beside Cyrus", own, other))
            if talk is not None:
                pairs.append(("bare aiosmtpd", talk, None))
            for name, peer, beside in pairs:
                if only in _title(name, load):
                    found.append(await _row(name, load, peer, beside, tell))
        if any(only in _title(TWICE, load) for load in LOADS):
            twice = await stack.enter_async_context(posthorn(server, processes=2))
            for load in LOADS:
                if only in _title(TWICE, load):
                    found.append(await _row(TWICE, load, twice, store, tell))
        large = large_mail.row(own, list(own.roots[1:]))
        if only in large.name:
            found.append(await runner.run(large, tell))
        key = signing_key()
        dns = await stack.enter_async_context(dns_server(key))
        judging = await stack.enter_async_context(posthorn(server, SETTINGS.format(address=dns.address)))
        judging = replace(judging, name="smtp-in with SPF, DKIM, DMARC and iprev")
        for load in JUDGED:
            if only not in _title("judged", load):
                continue
            with signed_messages(key, load.size, load.sessions) as files:
                found.append(await _row("judged", replace(load, files=files), judging, own, tell))
        store_of_ours = await _version(server)
        return [replace(row, note=f"{row.note}; {store_of_ours}") for row in found]


async def _version(server: str) -> str:
    connection = await asyncpg.connect(server)
    try:
        version = await connection.fetchval("SELECT current_setting('server_version')")
        packing = await connection.fetchval("SELECT current_setting('default_toast_compression')")
    finally:
        await connection.close()
    return f"PostgreSQL {version} with {packing}"


def _title(name: str, load: Load) -> str:
    return f"{name}, {load.size // 1000} KB, {load.sessions} sessions"


async def _row(name: str, load: Load, peer: Peer, beside: Peer | None, tell: Tell) -> runner.Result:
    measure = Measured(peer, load)
    reference = Measured(beside, load) if beside is not None else None
    row = runner.Row(_title(name, load), "messages/s", True, measure, reference, beside.name if beside else "", runs=3)
    result = await runner.run(row, tell)
    told = ", ".join(each.told() for each in (measure, reference) if each is not None)
    note = f"messages per CPU second of all its processes: {told}"
    if peer.name.startswith("smtp-in"):
        note += f"; {len(peer.roots) - 1} process(es) of smtp-in"
    return replace(result, note=note)


@asynccontextmanager
async def _perhaps(start: Callable[[], AbstractAsyncContextManager[Peer]], tell: Tell) -> AsyncIterator[Peer | None]:
    """A peer, warmed up, or None where it cannot be had, with a word on why."""
    async with AsyncExitStack() as stack:
        try:
            peer: Peer | None = await stack.enter_async_context(start())
        except Missing as reason:
            tell(f"left out: {reason}")
            peer = None
        if peer is not None:
            await send(peer, WARM, recipients())
        yield peer
