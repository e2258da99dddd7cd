"""A real web server for tests of MTA-STS (RFC 8461): it serves one policy over HTTPS, or whatever it is told to say."""

import asyncio
import ssl
from types import TracebackType
from typing import Self

SILENT = b""
"""Told as an answer: say nothing, until the client goes."""


class PolicyServer:
    """Use as `async with PolicyServer(context) as server`; then it listens at 127.0.0.1 and `server.port`."""

    def __init__(self, context: ssl.SSLContext) -> None:
        self.context = context
        self.policy = b""
        self.answer: bytes | None = None
        """A whole answer, in place of the policy."""
        self.requests: list[str] = []
        """First lines and Host fields, as "GET /path HTTP/1.1 host"."""
        self.port = 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", 0, ssl=self.context)
        self.port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._server is not None
        self._server.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
            host = next(line.partition(":")[2].strip() for line in head if line.lower().startswith("host:"))
            self.requests.append(f"{head[0]} {host}")
            if self.answer == SILENT:
                await reader.read()
            writer.write(self.answer or text(self.policy))
            await writer.drain()
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()


def text(body: bytes, *, status: str = "200 OK", kind: str = "text/plain") -> bytes:
    """An answer."""
    head = f"HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {len(body)}\r\n\r\n"
    return head.encode() + body
