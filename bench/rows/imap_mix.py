"""What many clients do at once: 50 connections, a mix of commands as a large provider counted them."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from bench.imap_client import Client, appended, logged_in
from bench.peers.imap_peer import USERS
from bench.rows.bus import percentile
from bench.rows.imap_beside import Case, Mailboxes, letter

CONNECTIONS = 50
SECONDS = 8.0
STOCK = 100
"""Messages of each user at the beginning."""
SHARES = {
    "STATUS": 28.0,
    "IDLE": 14.0,
    "FETCH body": 8.5,
    "FETCH headers": 8.5,
    "GETQUOTAROOT": 8.5,
    "APPEND": 7.5,
    "NOOP": 7.5,
    "SELECT": 3.0,
    "STORE": 3.0,
    "SEARCH": 3.0,
    "LIST": 1.0,
    "EXPUNGE": 1.0,
}
"""Of a hundred requests."""


@dataclass(slots=True)
class Load:
    """One run: how long each request took, in milliseconds."""

    taken: list[float]
    until: float


async def _prepared(mailboxes: Mailboxes) -> list[Client]:
    """CONNECTIONS clients of USERS users, each with INBOX selected."""
    clients = [await logged_in(mailboxes.peer, number % USERS) for number in range(CONNECTIONS)]
    if b"mix" not in mailboxes.filled:
        for client in clients[:USERS]:
            await client.command(b"CREATE Other", may_fail=True)
            await appended(client, b"INBOX", [letter(number) for number in range(STOCK)])
        await mailboxes.peer.settled()
        mailboxes.filled.add(b"mix")
    for client in clients:
        await client.command(b"SELECT INBOX")
    return clients


async def _session(client: Client, load: Load, chance: random.Random) -> None:
    """Requests one after the other, as fast as they are answered."""
    names, weights = list(SHARES), list(SHARES.values())
    requests = _requests(client, chance)
    while time.perf_counter() < load.until:
        (name,) = chance.choices(names, weights)
        begun = time.perf_counter()
        await requests[name]()
        load.taken.append((time.perf_counter() - begun) * 1000)


def _requests(client: Client, chance: random.Random) -> dict[str, Callable[[], Awaitable[object]]]:
    """What each name of SHARES does. Messages may be expunged by others meanwhile: UIDs are named, not numbers."""

    def uid() -> int:
        return chance.randint(1, STOCK)

    def send(text: Callable[[], bytes]) -> Callable[[], Awaitable[object]]:
        return lambda: client.command(text())

    async def expunge() -> None:
        await client.command(b"EXPUNGE")

    return {
        "STATUS": send(lambda: b"STATUS Other (MESSAGES UNSEEN UIDNEXT)"),
        "IDLE": client.idle,
        "FETCH body": send(lambda: b"UID FETCH %d BODY.PEEK[]" % uid()),
        "FETCH headers": send(lambda: b"UID FETCH %d BODY.PEEK[HEADER.FIELDS (FROM TO SUBJECT DATE)]" % uid()),
        "GETQUOTAROOT": send(lambda: b"GETQUOTAROOT INBOX"),
        "APPEND": lambda: appended(client, b"INBOX", [letter(chance.randrange(10_000))]),
        "NOOP": send(lambda: b"NOOP"),
        "SELECT": send(lambda: b"SELECT INBOX"),
        "STORE": send(lambda: b"UID STORE %d %sFLAGS (\\Flagged)" % (uid(), chance.choice((b"+", b"-")))),
        "SEARCH": send(lambda: b"UID SEARCH UNSEEN"),
        "LIST": send(lambda: b'LIST "" *'),
        "EXPUNGE": expunge,
    }


async def _run(mailboxes: Mailboxes) -> Load:
    clients = await _prepared(mailboxes)
    load = Load([], time.perf_counter() + SECONDS)
    begun = time.perf_counter()
    await asyncio.gather(*(_session(client, load, random.Random(n)) for n, client in enumerate(clients)))
    load.until = time.perf_counter() - begun
    for client in clients:
        client.close()
    return load


async def _rate(mailboxes: Mailboxes) -> float:
    load = await _run(mailboxes)
    return len(load.taken) / load.until


async def _p99(mailboxes: Mailboxes) -> float:
    return percentile((await _run(mailboxes)).taken, 0.99)


CASES = (
    Case("mix of 50 connections, requests", "1,900 to 3,600/s", _rate, "/s", higher_is_better=True, runs=3),
    Case("mix of 50 connections, p99", "76 to 167 ms", _p99, runs=3),
)
