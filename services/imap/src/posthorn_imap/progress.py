"""Signs of life while a command takes long (RFC 9585): how far it is nobody knows, only that it goes on."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from typing import TYPE_CHECKING, Any, TypeVar

from posthorn_imap.protocol.responses import Answer, ok, string

if TYPE_CHECKING:
    from posthorn_imap.session import Session

INTERVAL = 10.0
"""Seconds before the first sign, and between two."""
Command = TypeVar("Command")


def telling(
    perform: Callable[["Session", Command], Coroutine[Any, Any, Answer]],
) -> Callable[["Session", Command], Awaitable[Answer]]:
    """What performs a command, told of every INTERVAL. Only for commands that write all they have at their end."""

    async def told(session: "Session", command: Command) -> Answer:
        work = asyncio.create_task(perform(session, command))
        try:
            while not (await asyncio.wait({work}, timeout=INTERVAL))[0]:
                session.write(ok("Still at it", b"INPROGRESS (%b NIL NIL)" % string(session.tag)).line())
                await session.connection.flush()
        finally:
            work.cancel()
            await asyncio.gather(work, return_exceptions=True)
        return work.result()

    return told
