"""Five hundred sites on one machine: an SMTP server that is another one on each address of 127/8, and their DNS.

Sites differ: some are quick, some take their time, refuse for now, are too busy, hang up in the middle or read slowly.
Nothing is taken but what is answered 250. It judges nothing and remembers who sent what, and how many connections each
site had at once.
"""

import asyncio
import random
from collections import Counter, defaultdict
from collections.abc import Collection
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

from tests.faults.ledger import token_of

from posthorn_testkit.dns import DnsServer

KINDS = ("quick", "quick", "quick", "quick", "slow", "later", "busy", "rude", "reader", "drip")
"""What sites are like, in turn."""
PIECE = 4096
"""Octets that are read at once."""
SETTLED = 0.02
"""Seconds after which a new connection counts: what was closed before it was opened has been seen by then."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that was answered 250."""

    token: str
    site: str
    node: int
    at: float


@dataclass(slots=True)
class _Site:
    name: str
    kind: str
    open: set["_Visit"] = field(default_factory=set)


class Town:
    """Use as `async with Town(count, seed) as town`. Clients come from `client(node)`, which tells them apart."""

    def __init__(self, count: int, seed: int) -> None:
        self.sites = [f"s{number}.town.test" for number in range(count)]
        self.draw = random.Random(seed)
        self.taken: list[Taken] = []
        self.most = 0
        """Connections that one site had at once, but those of processes that could not close them any more."""
        self.most_with_stopped = 0
        self.said: Counter[str] = Counter()
        self.mending = False
        """Whether everybody behaves from now on."""
        self.port = 0
        self._addresses = {f"127.1.{number // 250}.{number % 250 + 1}": name for number, name in enumerate(self.sites)}
        self._by_address = {
            address: _Site(name, KINDS[number % len(KINDS)])
            for number, (address, name) in enumerate(self._addresses.items())
        }
        self._struck: set[int] = set()
        self._stopped: defaultdict[int, set[_Visit]] = defaultdict(set)
        self._dns = DnsServer({name: {"A": [address]} for address, name in self._addresses.items()})
        self._server: asyncio.Server | None = None
        self._visits: set[asyncio.Task[None]] = set()

    @property
    def resolver(self) -> str:
        """The address of its DNS server."""
        return self._dns.address

    @staticmethod
    def client(node: int) -> str:
        """The address that a node's connections leave from."""
        return f"127.9.0.{node}"

    async def __aenter__(self) -> Self:
        await self._dns.__aenter__()
        self._server = await asyncio.start_server(self._serve, "0.0.0.0", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._visits:
            task.cancel()
        await asyncio.gather(*self._visits, return_exceptions=True)
        await self._dns.__aexit__(kind, error, trace)

    def stopped(self, node: int) -> None:
        """A node has no say any more in the connections it has now, nor in those that have not been accepted yet."""
        self._struck.add(node)
        self._stopped[node].update(
            visit for site in self._by_address.values() for visit in site.open if visit.node == node
        )

    def goes_on(self, node: int) -> None:
        """What the node connects to from now on is its own doing again."""
        self._struck.discard(node)

    def tokens(self) -> Counter[str]:
        """How often each message was taken."""
        return Counter(each.token for each in self.taken)

    def first_after(self, moment: float, sites: Collection[str], but: int = 0) -> float | None:
        """When the first message for one of the sites was taken after a moment, from another node than `but`."""
        found = (each.at for each in self.taken if each.at > moment and each.node != but and each.site in sites)
        return min(found, default=None)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._visits.add(task)
        site = self._by_address[writer.get_extra_info("sockname")[0]]
        node = int(writer.get_extra_info("peername")[0].rpartition(".")[2])
        visit = _Visit(self, site, node, reader, writer)
        site.open.add(visit)
        if node in self._struck:
            self._stopped[node].add(visit)
        asyncio.get_running_loop().call_later(SETTLED, self._count, site)
        try:
            await visit.run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, RuntimeError):
            pass  # RuntimeError: uvloop's word for a connection that is closed
        finally:
            site.open.discard(visit)
            self._stopped[node].discard(visit)
            self._visits.discard(task)
            writer.transport.abort()

    def _count(self, site: _Site) -> None:
        own = sum(visit not in self._stopped[visit.node] for visit in site.open)
        self.most = max(self.most, own)
        self.most_with_stopped = max(self.most_with_stopped, len(site.open))


class _Visit:
    """One connection."""

    def __init__(
        self, town: Town, site: _Site, node: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self.node = node
        self._town = town
        self._site = site
        self._reader = reader
        self._writer = writer

    def _odds(self, kind: str, chance: float) -> bool:
        """Whether it happens now what happens on sites of that kind."""
        happens = self._site.kind == kind and not self._town.mending and self._town.draw.random() < chance
        self._town.said[kind] += happens
        return happens

    async def _say(self, text: str) -> None:
        if self._site.kind == "drip":
            for octet in f"{text}\r\n".encode():
                self._writer.write(bytes([octet]))
                await asyncio.sleep(0)
        else:
            self._writer.write(f"{text}\r\n".encode())
        await self._writer.drain()

    async def run(self) -> None:
        if self._odds("busy", 0.3):
            await self._say("421 4.3.2 too busy")
            return
        await self._say("220 town")
        while line := await self._reader.readline():
            verb = line[:4].upper()
            if verb == b"EHLO":
                await self._say("250-town\r\n250-PIPELINING\r\n250-8BITMIME\r\n250 CHUNKING")
            elif verb == b"BDAT":
                if not await self._content(await self._read(int(line.split()[1]))):
                    return
            elif verb == b"QUIT":
                await self._say("221 bye")
                return
            elif verb == b"RCPT" and self._odds("later", 0.3):
                await self._say("450 4.2.0 later" if self._town.draw.random() < 0.5 else "451 4.3.0 later")
            elif verb == b"MAIL" and self._odds("busy", 0.05):
                await self._say("421 4.3.2 too busy")
                return
            elif verb == b"RCPT" and self._odds("rude", 0.1):
                return
            else:
                await self._say("250 ok")

    async def _read(self, size: int) -> bytes:
        content = b""
        while len(content) < size:
            content += await self._reader.readexactly(min(PIECE, size - len(content)))
            if self._site.kind == "reader" and not self._town.mending:
                await asyncio.sleep(self._town.draw.uniform(0.01, 0.05))
        return content

    async def _content(self, content: bytes) -> bool:
        """Take a message; whether the connection goes on."""
        if self._odds("rude", 0.05):
            return False
        if self._site.kind == "slow" and not self._town.mending:
            await asyncio.sleep(self._town.draw.uniform(0.05, 0.3))
        token = token_of(content) or "no token"
        self._town.taken.append(Taken(token, self._site.name, self.node, asyncio.get_running_loop().time()))
        await self._say("250 taken")
        return True
