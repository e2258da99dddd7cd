"""A filter that misbehaves: a small server of real sockets that says what it is told to, whatever it is asked."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

CLOSE, SILENCE, FLOOD = b"<close>", b"<silence>", b"<flood>"


@asynccontextmanager
async def bad_filter(answer: bytes, *, after: bytes = b"") -> AsyncIterator[str]:
    """host:port of a server that answers with `answer` once it has read `after` (b"": at once), and then waits."""
    conversations: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        conversations.add(task)
        try:
            seen = b""
            while after not in seen:
                piece = await reader.read(65536)
                seen = seen[-len(after) :] + piece
                if not piece:
                    return
            if answer == CLOSE:
                return
            while answer == FLOOD:
                writer.write(b"x" * 65536)
                await writer.drain()
            if answer != SILENCE:
                writer.write(answer)
            while await reader.read(65536):
                pass
        except OSError:
            pass
        finally:
            conversations.discard(task)
            writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    finally:
        server.close()
        for task in list(conversations):
            task.cancel()
        await asyncio.gather(*conversations, return_exceptions=True)
