"""A gate on the way to a server of this machine: while it is shut nothing passes, and nobody is told."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


class Gate:
    """Passes bytes on to `port`; made by `gate_to`, open at first."""

    def __init__(self, port: int) -> None:
        self._to = port
        self._open = asyncio.Event()
        self._open.set()
        self._passing: set[asyncio.Task[None]] = set()
        self.port = 0
        """Where it listens on 127.0.0.1."""

    def shut(self) -> None:
        """Let nothing through: connections stay, as they do when a network is cut."""
        self._open.clear()

    def open(self) -> None:
        """Let through what waits, and all that follows."""
        self._open.set()

    async def listen(self) -> asyncio.Server:
        server = await asyncio.start_server(self._pass, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        return server

    def end(self) -> None:
        """Drop all connections."""
        for task in self._passing:
            task.cancel()

    async def _pass(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await self._open.wait()
        there_reader, there_writer = await asyncio.open_connection("127.0.0.1", self._to)
        ways = [
            asyncio.create_task(self._pump(reader, there_writer)),
            asyncio.create_task(self._pump(there_reader, writer)),
        ]
        self._passing.update(ways)
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
        for task in ways:
            task.cancel()
            self._passing.discard(task)
        there_writer.close()
        writer.close()

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        except OSError:
            return


@asynccontextmanager
async def gate_to(port: int) -> AsyncIterator[Gate]:
    """A gate in front of a port of this machine."""
    gate = Gate(port)
    async with await gate.listen():
        yield gate
        gate.end()
