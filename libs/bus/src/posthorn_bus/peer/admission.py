"""Who may connect: the ZAP handler of this process's sockets (ZeroMQ RFC 27).

Only CURVE with a key that the node table shows, proven, may connect. CURVE itself proves that the peer has the private
key. Everybody else is refused and logged.
"""

import asyncio
import contextlib
import logging
from collections.abc import Awaitable, Callable, Sequence

import zmq
import zmq.asyncio

from posthorn_bus.retry import cancelled, for_ever

_log = logging.getLogger(__name__)

ENDPOINT = "inproc://zeromq.zap.01"
MAX_WAITING = 256
QUIET = 0.05
"""Seconds without a question after which nobody is at the door any more."""
LONGEST = 1.0
"""Seconds after which an ending bus no longer answers."""


class Admission:
    """Answers libzmq's questions on one context. `knows` judges a public key of 32 bytes."""

    def __init__(self, context: zmq.asyncio.Context, knows: Callable[[bytes], Awaitable[bool]]) -> None:
        self._knows = knows
        self._socket = context.socket(zmq.ROUTER)
        self._socket.linger = 0
        self._socket.bind(ENDPOINT)
        self._judging: set[asyncio.Task[None]] = set()
        self._closing = False
        self._question = asyncio.Event()
        self._serving = asyncio.create_task(for_ever(self._serve, "bus: admission"), name="bus: admission")
        self.refused = 0

    async def refuse_all(self) -> None:
        """Let nobody in any more, and return when nobody asks.

        A connection that ends while its question is open keeps libzmq from ever ending its context (libzmq issue 2733).
        """
        self._closing = True
        for task in self._judging:
            task.cancel()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LONGEST):
                while True:
                    self._question.clear()
                    async with asyncio.timeout(QUIET):
                        await self._question.wait()
        await cancelled(self._serving)

    def close(self) -> None:
        self._socket.close()

    async def _serve(self) -> None:
        """Judge for ever; each newcomer by itself, so that one whose key must be looked up holds up nobody."""
        while True:
            frames = await self._socket.recv_multipart()
            self._question.set()
            if len(self._judging) < MAX_WAITING:
                task = asyncio.create_task(self._judge(frames))
                self._judging.add(task)
                task.add_done_callback(self._judging.discard)

    async def _judge(self, frames: Sequence[bytes]) -> None:
        # routing id, "", version, request id, domain, address, identity, mechanism, credentials
        if len(frames) != 9 or frames[2] != b"1.0":
            return
        route, request, address, mechanism, key = frames[0], frames[3], frames[5], frames[7], frames[8]
        try:
            known = not self._closing and mechanism == b"CURVE" and len(key) == 32 and await self._knows(key)
        except asyncio.CancelledError:
            known = False
        if not known and not self._closing:
            self.refused += 1
            _log.warning("a stranger at %s was refused", address.decode("ascii", "replace"))
        status, text, user = (b"200", b"OK", key.hex().encode()) if known else (b"400", b"not a member", b"")
        await self._socket.send_multipart([route, b"", b"1.0", request, status, text, user, b""])
