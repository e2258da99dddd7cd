"""What one client waits for, at Posthorn, Dovecot and Cyrus, with the same mail, in turn.

The letters are of 4.1 KB; most rows look at copies of a thousand of them. Each row can run by itself: it fills what it
needs.
"""

import itertools
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from bench import runner
from bench.imap_client import Client, Reply, appended, logged_in
from bench.peers.imap_peer import ImapPeer

MESSAGES = 10_000
LARGE = 100_000
COPIED = 1_000
OCTETS = 4_100
APPENDED = 100
STORED = 1_000
SELECTS = 100
_serial = itertools.count(1)


def letter(number: int) -> bytes:
    """One of MESSAGES: threads of ten, a few hundred senders, one in fifty with the word that is looked for."""
    first = number - number % 10
    word = "orchard" if number % 50 == 0 else "garden"
    lines = [
        f"From: Person {number * 7 % 331} <person{number * 7 % 331}@example.net>",
        "To: ann@example.org",
        f"Subject: {'Re: ' if number % 10 else ''}Matter {first * 13 % 997}",
        f"Date: {1 + number % 28} Mar 2024 {number % 24:02}:{number % 60:02}:00 +0000",
        f"Message-ID: <{number}@example.net>",
    ]
    if number % 10:
        lines.append(f"References: <{first}@example.net> <{number - 1}@example.net>")
    lines += ["", *(f"line {n} of a letter about a {word}, and nothing else" for n in range(20))]
    text = "\r\n".join(lines).encode()
    filler = b"All work and no play makes letter %d a dull one to read.\r\n" % number
    return (text + b"\r\n" + filler * (OCTETS // len(filler)))[: OCTETS - 2] + b"\r\n"


class Mailboxes:
    """What of the mail a server holds already."""

    def __init__(self, peer: ImapPeer) -> None:
        self.peer = peer
        self.filled: set[bytes] = set()
        self.first_logins = 0

    async def letters(self) -> Client:
        """A client that has MESSAGES letters selected, each appended by itself."""
        client = await logged_in(self.peer)
        if b"Letters" not in self.filled:
            await client.command(b"CREATE Letters")
            await appended(client, b"Letters", [letter(number) for number in range(MESSAGES)])
            await self.peer.settled()
            self.filled.add(b"Letters")
        await client.command(b"SELECT Letters")
        return client

    async def copies(self, messages: int = MESSAGES) -> Client:
        """A client that has a mailbox of so many messages selected, which are copies of COPIED letters."""
        client = await logged_in(self.peer, 1)
        name = b"Copies%d" % messages
        if name not in self.filled:
            await client.command(b"CREATE Copied", may_fail=True)
            await client.command(b"CREATE " + name)
            if b"Copied" not in self.filled:
                await appended(client, b"Copied", [letter(number) for number in range(COPIED)])
                self.filled.add(b"Copied")
            await client.command(b"SELECT Copied")
            for _ in range(messages // COPIED):
                await client.command(b"COPY 1:* " + name)
            await self.peer.settled()
            self.filled.add(name)
        await client.command(b"SELECT " + name)
        return client


@dataclass(frozen=True, slots=True)
class Case:
    """A row: its name, what was asked of us, and how it is measured at a server."""

    name: str
    asked: str
    measure: Callable[[Mailboxes], Awaitable[float]]
    unit: str = "ms"
    higher_is_better: bool = False
    runs: int = 5


def _asking(text: bytes, least: int = 0, *, letters: bool = False) -> Callable[[Mailboxes], Awaitable[float]]:
    """Milliseconds of a command in the copies, or in the letters."""

    async def measure(mailboxes: Mailboxes) -> float:
        client = await (mailboxes.letters() if letters else mailboxes.copies())
        reply = await client.command(text)
        client.close()
        if reply.octets < least:
            raise RuntimeError(f"{text!r} was answered with {reply.octets} octets")
        return reply.whole

    return measure


async def _select(mailboxes: Mailboxes, share: float) -> float:
    """SELECT of LARGE by a client that had it selected before; EXAMINE would be cheaper."""
    client = await mailboxes.copies(LARGE)
    taken = []
    for _ in range(SELECTS):
        await client.command(b"UNSELECT")
        taken.append((await client.command(b"SELECT Copies%d" % LARGE)).whole)
    client.close()
    return sorted(taken)[min(SELECTS - 1, int(share * SELECTS))]


async def _first_octet(mailboxes: Mailboxes) -> float:
    client = await mailboxes.copies(LARGE)
    reply: Reply = await client.command(b"FETCH 1:* ENVELOPE")
    client.close()
    return reply.first


async def _store(mailboxes: Mailboxes) -> float:
    """STORE of one flag at a time, answered before the next one is sent."""
    client = await mailboxes.copies()
    begun = time.perf_counter()
    for number in range(1, STORED + 1):
        sign = b"+" if next(_serial) % 2 else b"-"
        await client.command(b"STORE %d %sFLAGS (\\Flagged)" % (number, sign))
    taken = time.perf_counter() - begun
    client.close()
    return STORED / taken


async def _append(mailboxes: Mailboxes) -> float:
    """APPEND, one message at a time."""
    client = await logged_in(mailboxes.peer, 2)
    begun = time.perf_counter()
    for _ in range(APPENDED):
        await appended(client, b"INBOX", [letter(next(_serial))])
    taken = time.perf_counter() - begun
    client.close()
    return APPENDED / taken


async def _store_all(mailboxes: Mailboxes) -> float:
    client = await mailboxes.copies()
    sign = b"+" if next(_serial) % 2 else b"-"
    reply = await client.command(b"STORE 1:* %sFLAGS.SILENT (\\Answered)" % sign)
    client.close()
    return reply.whole


CASES: Sequence[Case] = (
    Case("FETCH of 10,000 flags", "40 ms", _asking(b"FETCH 1:* FLAGS", MESSAGES)),
    Case("FETCH of 10,000 envelopes", "140 ms", _asking(b"FETCH 1:* ENVELOPE", 100 * MESSAGES)),
    Case("FETCH of 10,000 bodies, 41 MB", "1,400 ms", _asking(b"FETCH 1:* BODY.PEEK[]", OCTETS * MESSAGES), runs=3),
    Case("FETCH of 10,000 header fields", "", _asking(b"FETCH 1:* BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)]", MESSAGES)),
    Case("SELECT of 100,000, median", "5 ms", lambda boxes: _select(boxes, 0.5), runs=3),
    Case("SELECT of 100,000, p99", "150 ms", lambda boxes: _select(boxes, 0.99), runs=3),
    Case("first octet of FETCH of 100,000 envelopes", "100 ms", _first_octet, runs=3),
    Case("SEARCH by flag in 10,000", "", _asking(b"SEARCH UNSEEN")),
    Case("SEARCH by header in 10,000", "", _asking(b"SEARCH FROM person77", letters=True)),
    Case("SEARCH TEXT in 10,000", "10 ms", _asking(b"SEARCH TEXT orchard", letters=True)),
    Case("SORT by subject of 10,000", "", _asking(b"SORT (SUBJECT) UTF-8 ALL", letters=True)),
    Case("SORT by sender and date of 10,000", "", _asking(b"SORT (FROM REVERSE DATE) UTF-8 ALL", letters=True)),
    Case("THREAD by references of 10,000", "", _asking(b"THREAD REFERENCES UTF-8 ALL", letters=True)),
    Case("STORE, one after the other", "", _store, "/s", higher_is_better=True),
    Case("STORE of 10,000 at once", "", _store_all),
    Case("APPEND of 4 KB, one after the other", "", _append, "/s", higher_is_better=True),
)


def rows(cases: Sequence[Case], ours: Mailboxes, others: Sequence[Mailboxes]) -> list[runner.Row]:
    """A row for each case: ours, beside the first of the others, and the rest below."""
    return [_row(case, ours, others) for case in cases]


def _row(case: Case, ours: Mailboxes, others: Sequence[Mailboxes]) -> runner.Row:
    def at(mailboxes: Mailboxes) -> runner.Measure:
        return lambda: case.measure(mailboxes)

    return runner.Row(
        f"IMAP {case.name}",
        case.unit,
        case.higher_is_better,
        at(ours),
        at(others[0]) if others else None,
        others[0].peer.name if others else "",
        case.runs,
        f"asked: {case.asked}" if case.asked else "",
        {each.peer.name: at(each) for each in others[1:]},
    )
