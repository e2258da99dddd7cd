"""Logins, and what connections cost that only wait."""

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

from bench import cpu
from bench.imap_client import Client, logged_in
from bench.peers.imap_peer import USERS
from bench.rows.imap_beside import Case, Mailboxes

LOGINS = 200
AT_ONCE = 8
IDLE = 400
SETTLED_SECONDS = 1.0


async def _logins(mailboxes: Mailboxes) -> float:
    """Logins of one user, whose password was verified a moment ago."""
    (await logged_in(mailboxes.peer, 3)).close()
    return await _rate(mailboxes, [3] * LOGINS)


async def _first_logins(mailboxes: Mailboxes) -> float:
    """Logins of users whose passwords this server has not verified yet: half of them in each of two runs."""
    half = (USERS - 4) // 2
    first = 4 + half * (mailboxes.first_logins % 2)
    mailboxes.first_logins += 1
    return await _rate(mailboxes, range(first, first + half))


async def _rate(mailboxes: Mailboxes, users: Iterable[int]) -> float:
    waiting = iter(users)
    done = 0

    async def some() -> None:
        nonlocal done
        for user in waiting:
            (await logged_in(mailboxes.peer, user)).close()
            done += 1

    begun = time.perf_counter()
    await asyncio.gather(*(some() for _ in range(AT_ONCE)))
    return done / (time.perf_counter() - begun)


async def _idle(mailboxes: Mailboxes) -> float:
    """KiB of memory of all processes of a server for each more TLS connection that is in IDLE (PSS, proc(5))."""
    first = [await _idling(mailboxes, number) for number in range(20)]
    await asyncio.sleep(SETTLED_SECONDS)
    before = memory(mailboxes.peer.roots)
    more = [await _idling(mailboxes, number) for number in range(IDLE)]
    await asyncio.sleep(SETTLED_SECONDS)
    after = memory(mailboxes.peer.roots)
    for client in (*first, *more):
        client.close()
    await asyncio.sleep(SETTLED_SECONDS)
    return (after - before) / IDLE


async def _idling(mailboxes: Mailboxes, number: int) -> Client:
    client = await logged_in(mailboxes.peer, number % USERS, tls=True)
    await client.command(b"SELECT INBOX")
    await client.until(b"+", b"i IDLE\r\n")
    return client


def memory(roots: Iterable[int]) -> int:
    """KiB of the processes and all that descend from them; pages that several have are shared out among them."""
    total = 0
    for pid in cpu.descending(roots):
        with suppress(OSError):
            for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                if line.startswith("Pss:"):
                    total += int(line.split()[1])
    return total


CASES = (
    Case("logins, never verified", "33/s", _first_logins, "/s", higher_is_better=True, runs=1),
    Case("logins, verified a moment ago", "500/s", _logins, "/s", higher_is_better=True, runs=3),
    Case("memory of an idle TLS connection", "41 KiB", _idle, "KiB", runs=1),
)
