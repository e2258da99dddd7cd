"""Answers the challenges by which an authority sees that a host name is ours: any node may be the one it asks.

http-01 (RFC 8555 8.3) on every HTTP listener, tls-alpn-01 (RFC 8737) on those with TLS. What to answer is looked for
when a question comes, so that no node need have heard before; how many are looked into at once is bounded.
"""

import asyncio
import re
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection
from typing import Any, Final

from posthorn_model.errors import PosthornError
from posthorn_node.hello import MAX_HELLO, BadHello, Hello, client_hello
from posthorn_node.tls import bare_context, load

HTTP_01: Final = "http-01"
TLS_ALPN_01: Final = "tls-alpn-01"
ACME_TLS: Final = "acme-tls/1"
ANSWERS: Final = "answers"
"""Under which word the address of a process in the node table says which kinds its listeners answer."""
PREFIX: Final = "/.well-known/acme-challenge/"
HELLO_SECONDS: Final = 10.0
MOST_AT_ONCE: Final = 8
"""Questions looked into at once by one process; more are turned away."""
_PEEK_AGAIN: Final = 0.02
_TOKEN = re.compile(r"[A-Za-z0-9_-]{16,128}")

Find = Callable[[str, str], Awaitable[str | None]]
"""The key authorization for a kind of challenge and its token (http-01) or host name (tls-alpn-01)."""
App = Callable[[Any, Any, Any], Awaitable[None]]


class Challenges:
    """Of one process; `kinds` are those that may come."""

    def __init__(self, find: Find, kinds: Collection[str]) -> None:
        self._find = find
        self._asked = 0
        self.by_http = HTTP_01 in kinds
        self.by_tls = TLS_ALPN_01 in kinds

    def kinds(self, *, tls: bool) -> list[str]:
        """Those that an HTTP listener answers."""
        found = [(HTTP_01, self.by_http), (TLS_ALPN_01, self.by_tls and tls)]
        return [kind for kind, answered in found if answered]

    def before(self, app: App) -> App:
        """An ASGI app that answers http-01 itself, and leaves everything else to `app`."""

        async def answering(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] != "http" or not scope["path"].startswith(PREFIX):
                return await app(scope, receive, send)
            token = scope["path"].removeprefix(PREFIX)
            found = await self._content(HTTP_01, token) if _TOKEN.fullmatch(token) else None
            body = b"" if found is None else found.encode()
            headers = [(b"content-type", b"application/octet-stream"), (b"content-length", str(len(body)).encode())]
            await send({"type": "http.response.start", "status": 404 if found is None else 200, "headers": headers})
            await send({"type": "http.response.body", "body": body})
            return None

        return answering

    async def context_for(self, connected: socket.socket) -> ssl.SSLContext | None:
        """For a connection of an authority, the context to answer it with; None for everybody else's.

        It looks at the client's first words without taking them. Raises BadHello, TimeoutError, OSError.
        """
        async with asyncio.timeout(HELLO_SECONDS):
            hello = await _hello(connected)
        if ACME_TLS not in hello.protocols:
            return None
        found = await self._content(TLS_ALPN_01, hello.name)
        if found is None:
            raise BadHello("no challenge is under way for that name")
        return await asyncio.to_thread(_challenge_context, hello.name, found)

    async def _content(self, kind: str, key: str) -> str | None:
        if self._asked >= MOST_AT_ONCE:
            return None
        self._asked += 1
        try:
            return await self._find(kind, key)
        except PosthornError:
            return None  # the authority asks again
        finally:
            self._asked -= 1


async def _hello(connected: socket.socket) -> Hello:
    while True:
        await _readable(connected)
        data = connected.recv(MAX_HELLO, socket.MSG_PEEK)
        if not data:
            raise BadHello("closed")
        hello = client_hello(data)
        if hello is not None:
            return hello
        await asyncio.sleep(_PEEK_AGAIN)  # what is there stays readable


async def _readable(connected: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    there = loop.create_future()

    def tell() -> None:
        if not there.done():
            there.set_result(None)

    loop.add_reader(connected, tell)
    try:
        await there
    finally:
        loop.remove_reader(connected)


def _challenge_context(name: str, authorization: str) -> ssl.SSLContext:
    from posthorn_node.certificate import for_challenge

    context = bare_context((ACME_TLS,))
    load(context, for_challenge(name, authorization))
    return context
