"""A Wire over Redis's publish and subscribe: one connection to hear, one to speak, both to the same server."""

import asyncio
from collections.abc import Sequence

from posthorn_bus.broadcast.wire import Cut, Hear, Message
from posthorn_bus.redis.connection import CONNECT, Connections, Line
from posthorn_bus.retry import cancelled
from posthorn_bus.settings import Server

LARGEST = 512 * 1024
"""Redis takes far more; the batches of the bus are smaller."""
ANSWER = 4.0
"""Seconds."""


class RedisWire:
    """See the module. In a cluster every node passes on what any node is told."""

    def __init__(self, ear: Line, mouth: Line, hear: Hear) -> None:
        self.place = ear.place
        self.largest = LARGEST
        self._ear = ear
        self._mouth = mouth
        self._hear = hear
        self._channels: set[bytes] = set()
        self._subscribed = asyncio.Condition()
        self._speaking = asyncio.Lock()
        self._reading = asyncio.create_task(self._read(), name="bus: redis")

    @classmethod
    async def open(
        cls, connections: Connections, server: Server, hear: Hear, what: str, *, must_be_master: bool = False
    ) -> "RedisWire":
        """Connect. Raises Cut."""
        ear, mouth = Line(connections, server, what), Line(connections, server, what)
        try:
            async with asyncio.timeout(CONNECT):
                await ear.connect()
                await mouth.connect()
                if must_be_master and bytes((await mouth.ask("ROLE"))[0]) != b"master":
                    raise Cut(f"{ear.place}: it is no master")
        except BaseException as error:
            await ear.close()
            await mouth.close()
            if isinstance(error, TimeoutError):
                raise Cut(f"{ear.place}: it does not answer") from None
            raise
        return cls(ear, mouth, hear)

    async def nodes(self) -> list[Server]:
        """All nodes of the cluster as this one knows them. Raises Cut."""
        found = []
        for _, _, *nodes in await self._ask("CLUSTER", "SLOTS"):
            # A node that does not know its own name says nothing or null.
            found += [Server(str(node[0], "ascii", "replace"), int(node[1])) for node in nodes if node[0]]
        return list(dict.fromkeys(found))

    async def listen(self, *channels: str) -> None:
        wanted = [channel.encode() for channel in channels]
        await self._ear.send(("SUBSCRIBE", *wanted))
        waiting = asyncio.create_task(self._heard_of(wanted))
        try:
            await asyncio.wait({waiting, self._reading}, timeout=ANSWER, return_when=asyncio.FIRST_COMPLETED)
            if self._reading.done():
                await self.serve()
            if not waiting.done():
                raise Cut(f"{self.place}: it does not answer")
        finally:
            await cancelled(waiting)

    async def ignore(self, channel: str) -> None:
        self._channels.discard(channel.encode())
        await self._ear.send(("UNSUBSCRIBE", channel))

    async def send(self, messages: Sequence[Message]) -> None:
        if not messages:
            return
        async with self._speaking:
            await self._mouth.send(*(("PUBLISH", channel, payload) for channel, payload in messages))
            for _ in messages:
                await self._mouth.answer()

    async def serve(self) -> None:
        await asyncio.shield(self._reading)
        raise Cut(f"{self.place}: the connection was lost")

    async def close(self) -> None:
        await cancelled(self._reading)
        await self._ear.close()
        await self._mouth.close()

    async def _ask(self, *command: str) -> list[list[list[bytes]]]:
        async with self._speaking:
            try:
                async with asyncio.timeout(ANSWER):
                    answer: list[list[list[bytes]]] = await self._mouth.ask(*command)
            except TimeoutError:
                raise Cut(f"{self.place}: it does not answer") from None
        return answer

    async def _heard_of(self, channels: Sequence[bytes]) -> None:
        async with self._subscribed:
            await self._subscribed.wait_for(lambda: self._channels.issuperset(channels))

    async def _read(self) -> None:
        while True:
            kind, channel, payload = await self._ear.answer()
            if kind == b"message":
                self._hear(str(channel, "utf-8", "replace"), payload)
            elif kind == b"subscribe":
                async with self._subscribed:
                    self._channels.add(channel)
                    self._subscribed.notify_all()
