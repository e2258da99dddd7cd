"""Senders that behave as a mail server of somebody else would: they keep a message until it is acknowledged.

A sender that sees a temporary refusal or a broken connection goes to the next node with the same message. A refusal for
good is a mistake of the cluster here, since every message is a proper one, and ends the load with an error. How fast
things go is not judged. How a message travels is the business of couriers.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from types import TracebackType
from typing import Self

from tests.faults.couriers import Courier, PutOff, SmtpCourier, Target
from tests.faults.ledger import Ledger

from posthorn_testkit.cluster import Reachable

PAUSE = 0.1
"""Seconds before a message is offered again."""
TRIES = 1200


class Load:
    """`count` messages for the accounts in turn, sent by some connections at once that begin on different nodes.

    `pace` is the pause between two messages of a connection, in seconds.

    Use as `with Load(...) as load:`; at the end of the block it waits until all are acknowledged and raises what went
    wrong with any sender.
    """

    def __init__(
        self,
        cluster: Reachable,
        ledger: Ledger,
        accounts: Sequence[Target],
        count: int,
        *,
        nodes: Sequence[int] = (1, 2),
        connections: int = 4,
        courier: Callable[[Reachable, Ledger], Courier] = SmtpCourier,
        pace: float = 0.0,
    ) -> None:
        self.breaks = 0
        """How often a connection broke or a message was put off."""
        self.most_tries = 0
        """The most tries that a message needed."""
        self._cluster = cluster
        self._ledger = ledger
        self._nodes = tuple(nodes)
        self._courier = courier
        self._work = [accounts[n % len(accounts)] for n in range(count)]
        self._connections = connections
        self._pace = pace
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(connections)
        self._senders: list[Future[None]] = []

    def __enter__(self) -> Self:
        self._senders = [self._pool.submit(self._send_all, number) for number in range(self._connections)]
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._stop.set()
        self._pool.shutdown()
        for sender in self._senders:
            failure = sender.exception()
            if failure is not None:
                raise failure

    def enough(self) -> None:
        """Begin no message any more; what is begun is sent."""
        with self._lock:
            self._work.clear()

    def _next(self) -> Target | None:
        with self._lock:
            return self._work.pop() if self._work and not self._stop.is_set() else None

    def _send_all(self, turn: int) -> None:
        courier = self._courier(self._cluster, self._ledger)
        try:
            while (target := self._next()) is not None:
                turn = self._send(courier, turn, target)
                self._stop.wait(self._pace)
        except BaseException:
            self._stop.set()
            raise
        finally:
            courier.close()

    def _send(self, courier: Courier, turn: int, target: Target) -> int:
        """Send one message until it is acknowledged; returns the turn, which says the node to go on with."""
        token = self._ledger.open(target.name)
        for tries in range(1, TRIES + 1):
            node = self._nodes[turn % len(self._nodes)]
            try:
                courier.send(node, token, target)
            except (OSError, EOFError, PutOff) as error:
                with self._lock:
                    self.breaks += 1
                print(f"{token} on node {node}: {type(error).__name__}: {error}"[:200])
                courier.close()
                turn += 1
                if self._stop.wait(PAUSE):
                    return turn
                if not courier.repeats:
                    token = self._ledger.open(target.name)
                continue
            self._ledger.acknowledge(token, node)
            with self._lock:
                self.most_tries = max(self.most_tries, tries)
            return turn
        raise AssertionError(f"{token} was not acknowledged in {TRIES} tries")
