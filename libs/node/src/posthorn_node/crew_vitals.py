"""The HTTP endpoint of a service of several processes: one /health/live, /health/ready and /metrics for all of them.

Each is asked on its own socket when somebody asks for the whole.
"""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

from posthorn_node.asking import get
from posthorn_node.merged import merged_health, merged_metrics
from posthorn_node.metrics import Metrics
from posthorn_node.probes import JSON, UNKNOWN, Answer, answered

LIMIT = 2.5
"""Seconds for the answer of a process, a little more than its own probes may take."""
KEEPER = "keeper"
"""In metrics, the name of the process that keeps the others."""

Ask = Mapping[str, int | None]
"""The port that each process answers on, None for one that does not run."""


class CrewVitals:
    """ASGI app. `ports` and `state` are asked for each time."""

    def __init__(self, service: str, metrics: Metrics, ports: Callable[[], Ask], state: Callable[[], str]) -> None:
        self._service = service
        self._metrics = metrics
        self._ports = ports
        self._state = state
        self._answered = False

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        await answered(scope, send, self._answer)

    async def _answer(self, path: str) -> Answer:
        if path == "/health/live":
            answers = await self._ask("/health/live")
            alive = any(answers.values()) or not self._answered
            self._answered = self._answered or any(answers.values())
            return (200 if alive else 503), JSON, self._json({"alive": alive, "state": self._state()})
        if path in ("/health/ready", "/health"):
            report = merged_health(self._state(), await self._ask("/health/ready"))
            return (200 if report["ready"] else 503), JSON, self._json(report)
        if path == "/metrics":
            answers = await self._ask("/metrics")
            texts = {process: answer.decode() for process, answer in answers.items() if answer is not None}
            texts[KEEPER] = self._metrics.exposition().decode()
            return 200, self._metrics.content_type.encode(), merged_metrics(texts).encode()
        return UNKNOWN

    async def _ask(self, path: str) -> dict[str, bytes | None]:
        ports = self._ports()
        answers = await asyncio.gather(*(_asked(port, path) for port in ports.values()))
        return dict(zip(ports, answers, strict=True))

    def _json(self, fields: dict[str, Any]) -> bytes:
        return json.dumps({"service": self._service, **fields}, ensure_ascii=False).encode()


async def _asked(port: int | None, path: str) -> bytes | None:
    if port is None:
        return None
    try:
        status, body = await get("127.0.0.1", port, path, LIMIT)
    except (OSError, TimeoutError, ValueError):
        return None
    return body if status in (200, 503) else None
