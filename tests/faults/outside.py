"""The world outside: a real SMTP server on the address to which the cluster sends mail for the sink's domain.

It runs in a thread with an event loop of its own, since those who use it block. It judges nothing.
"""

import asyncio
import threading
from collections import Counter
from collections.abc import Coroutine
from types import TracebackType
from typing import Any, Self, TypeVar

from tests.faults.ledger import token_of

from posthorn_testkit.cluster import Reachable, until
from posthorn_testkit.sink import END, Gate, Sink

T = TypeVar("T")


class Outside:
    """Listens while the block runs."""

    def __init__(self, cluster: Reachable) -> None:
        place = cluster.description["sink"]
        self._sink = Sink(host=place["host"])
        self._sink.port = place["port"]
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        self._wait(self._sink.start())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._wait(self._sink.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(30)

    @property
    def connections(self) -> int:
        """How many have been opened so far."""
        return self._sink.connections

    def tokens(self, *, until_connection: int | None = None) -> list[str]:
        """The tokens of what was taken, in that order, repeats too; only from the first connections if told."""
        return [
            token_of(mail.content) or "no token"
            for mail in list(self._sink.mails)
            if until_connection is None or mail.connection <= until_connection
        ]

    def copies(self) -> Counter[str]:
        return Counter(self.tokens())

    def wait(self, count: int) -> None:
        """Wait until so many different messages have been taken."""
        until(f"{count} messages outside", lambda: len(set(self.tokens())) >= count, 120)

    def hold(self, count: int) -> list[Gate]:
        """Let the next replies to content wait."""

        async def held() -> list[Gate]:
            return [self._sink.hold(END) for _ in range(count)]

        return self._wait(held())

    def reached(self, gate: Gate) -> bool:
        """Whether content has come whose reply this gate holds back."""
        return gate.reached.is_set()

    def release(self, gates: list[Gate]) -> None:
        """Let go of all replies held back, and hold none from now on."""

        async def opened() -> None:
            for gate in gates:
                gate.open.set()

        self._wait(opened())
