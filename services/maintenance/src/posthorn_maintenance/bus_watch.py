"""What maintenance shows of the bus beyond what every process shows: the echo test, and which node was heard when.

One service shows it, so that a cluster of many nodes has these figures for each node, not for each pair of processes.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from typing import Any

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from structlog.typing import FilteringBoundLogger

from posthorn_bus import Answer, Echo
from posthorn_model.cluster import Process
from posthorn_model.errors import PosthornError
from posthorn_model.events import NodeNotice, Topic
from posthorn_model.ports import Bus, Clock
from posthorn_node.metrics import PREFIX, Metrics
from posthorn_storage.nodes import NodeStore

MOST_NOTICES = 100


class EchoTest:
    """Asks every live process for an answer over the bus, on demand and now and then; keeps the latest result."""

    def __init__(self, echo: Echo, nodes: NodeStore, metrics: Metrics, clock: Clock, log: FilteringBoundLogger) -> None:
        self._echo = echo
        self._nodes = nodes
        self._clock = clock
        self._log = log
        self._seconds = metrics.gauge("bus_echo_seconds", "Slowest answer of a node to the latest echo test", ["node"])
        self._silent = metrics.gauge("bus_echo_silent", "Live processes that did not answer the latest echo test")
        self._running: asyncio.Task[dict[str, Any]] | None = None
        self.latest: dict[str, Any] | None = None
        """What the latest one found, as `run` returns it."""

    async def run(self) -> dict[str, Any]:
        """Ask now; who calls while a test runs gets its result. Raises Unavailable."""
        if self._running is None or self._running.done():
            self._running = asyncio.create_task(self._ask(), name="echo test")
        return await asyncio.shield(self._running)

    async def keep(self, every: float, elected: Callable[[], bool]) -> None:
        """Ask every so many seconds while this process is the one of the cluster that does."""
        while True:
            await asyncio.sleep(every)
            if elected():
                try:
                    await self.run()
                except PosthornError as error:
                    self._log.warning("no echo test", reason=error.public)

    async def _ask(self) -> dict[str, Any]:
        # Who is just starting may not listen yet.
        live = {found.boot: found for found in await self._nodes.all() if found.live and found.state != "starting"}
        began = datetime.fromtimestamp(self._clock.time(), UTC)
        answers = await self._echo.ask(live.keys())
        answered = {answer.boot for answer in answers}
        silent = [process for boot, process in live.items() if boot not in answered]
        self._show(answers, silent)
        self.latest = {
            "asked": began.isoformat(),
            "answers": [_answer(answer) for answer in answers],
            "silent": [{"node": found.node, "service": found.service, "boot": found.boot} for found in silent],
        }
        return self.latest

    def _show(self, answers: Sequence[Answer], silent: Sequence[Process]) -> None:
        slowest: dict[int, float] = {}
        for answer in answers:
            slowest[answer.node] = max(answer.seconds, slowest.get(answer.node, 0.0))
        self._seconds.clear()
        for node, seconds in slowest.items():
            self._seconds.labels(node).set(seconds)
        self._silent.set(len(silent))
        for found in silent:
            self._log.warning("no answer to the echo test", of_node=found.node, of_service=found.service)


class NodeNotices:
    """What processes said of themselves of late: that they joined, drain, left. Kept for people, and in the log."""

    def __init__(self, bus: Bus, clock: Clock, log: FilteringBoundLogger) -> None:
        self._bus = bus
        self._clock = clock
        self._log = log
        self._heard: deque[tuple[float, NodeNotice]] = deque(maxlen=MOST_NOTICES)

    async def listen(self) -> None:
        """Until the bus stops."""
        async for event in self._bus.subscribe(Topic.NODES):
            if isinstance(event, NodeNotice):
                self._heard.append((self._clock.time(), event))
                self._log.info("a process said", of_node=event.node, of_service=event.service, state=event.state)

    def latest(self) -> list[dict[str, Any]]:
        """The newest first."""
        return [
            {
                "at": datetime.fromtimestamp(at, UTC).isoformat(),
                "node": notice.node,
                "service": notice.service,
                "state": notice.state,
            }
            for at, notice in reversed(self._heard)
        ]


class NodesHeard(Collector):
    """A metric per node: how long ago this process heard its last event."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Read when it is scraped."""
        family = GaugeMetricFamily(
            f"{PREFIX}bus_node_heard_seconds", "Seconds since the last event of a node", labels=["node"]
        )
        for node, seconds in self._bus.health().heard.items():
            family.add_metric([str(node)], seconds)
        yield family


def _answer(answer: Answer) -> dict[str, Any]:
    return {
        "node": answer.node,
        "service": answer.service,
        "boot": answer.boot,
        "milliseconds": round(answer.seconds * 1000, 3),
    }
