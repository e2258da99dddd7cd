"""Five hundred sites on one machine: an SMTP server that is another one on each address of 127/8, and their DNS.

Sites differ: some are quick, some take their time, refuse for now, are too busy, hang up in the middle or read slowly.
Nothing is taken but what is answered 250. It judges nothing and remembers who sent what, and which connections
each site had (visits.py).
"""

import asyncio
import random
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from tests.faults.ledger import token_of
from tests.faults.visits import Visit, Visits

from posthorn_testkit.dns import DnsServer

KINDS = ("quick", "quick", "quick", "quick", "slow", "later", "busy", "rude", "reader", "drip")
"""What sites are like, in turn."""
PIECE = 4096
"""Octets that are read at once."""


@dataclass(frozen=True, slots=True)
class Taken:
    """One message that was answered 250."""

    token: str
    site: str
    node: int
    at: float


@dataclass(frozen=True, slots=True)
class _Site:
    name: str
    kind: str


class Town:
    """Use as `async with Town(count, seed) as town`. Clients come from `client(node)`, which tells them apart."""

    def __init__(self, count: int, seed: int) -> None:
        self.sites = [f"s{number}.town.test" for number in range(count)]
        self.draw = random.Random(seed)
        self.taken: list[Taken] = []
        self.visits = Visits()
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
        self._dns = DnsServer({name: {"A": [address]} for address, name in self._addresses.items()})
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

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
        self._server = await asyncio.get_running_loop().create_server(lambda: _Door(self), "0.0.0.0", 0, backlog=1024)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._server is not None:
            self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._dns.__aexit__(kind, error, trace)

    def stopped(self, node: int) -> None:
        """A node has no say any more in the connections it has now, nor in those that have not been accepted yet."""
        self._struck.add(node)
        self.visits.strike(node, asyncio.get_running_loop().time())

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

    def enter(self, server: str, client: str) -> Visit:
        """Somebody has connected, by these addresses."""
        now, node = asyncio.get_running_loop().time(), int(client.rpartition(".")[2])
        visit = Visit(self._by_address[server].name, node, now)
        if node in self._struck:
            visit.struck = now
        self.visits.add(visit)
        return visit

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Talk to somebody who has connected."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        site = self._by_address[writer.get_extra_info("sockname")[0]]
        node = int(writer.get_extra_info("peername")[0].rpartition(".")[2])
        try:
            await _Talk(self, site, node, reader, writer).run()
        except (ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError, RuntimeError):
            pass  # RuntimeError: uvloop's word for a connection that is closed
        finally:
            self._tasks.discard(task)
            writer.transport.abort()


class _Door(asyncio.StreamReaderProtocol):
    """Writes a visit down as it begins and ends, whatever the talk is about at that moment."""

    def __init__(self, town: Town) -> None:
        loop = asyncio.get_running_loop()
        super().__init__(asyncio.StreamReader(loop=loop), town.serve, loop=loop)
        self._town = town
        self._clock = loop.time
        self._visit: Visit | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        server, client = (transport.get_extra_info(name)[0] for name in ("sockname", "peername"))
        self._visit = self._town.enter(server, client)
        super().connection_made(transport)

    def eof_received(self) -> bool | None:
        self._end()
        return super().eof_received()

    def connection_lost(self, exc: Exception | None) -> None:
        self._end()
        super().connection_lost(exc)

    def _end(self) -> None:
        if self._visit is not None:
            self._visit.end(self._clock())


class _Talk:
    """The conversation on one connection."""

    def __init__(
        self, town: Town, site: _Site, node: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        self._node = node
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
        self._town.taken.append(Taken(token, self._site.name, self._node, asyncio.get_running_loop().time()))
        await self._say("250 taken")
        return True
