"""The small HTTP server every process has: /health/live, /health/ready and /metrics."""

import json
import socket
from typing import Any

from posthorn_node.health import Health
from posthorn_node.http import HttpServer, server_on
from posthorn_node.logs import Identity
from posthorn_node.metrics import Metrics
from posthorn_node.probes import JSON, UNKNOWN, Answer, answered

MAX_CONNECTIONS = 256


class Vitals:
    """ASGI app. Ready answers 200 or 503 with the same JSON, so that the reason can be read in both cases."""

    def __init__(self, health: Health, metrics: Metrics, identity: Identity) -> None:
        self._health = health
        self._metrics = metrics
        self._identity = identity

    async def __call__(self, scope: Any, _receive: Any, send: Any) -> None:
        await answered(scope, send, self._answer)

    async def _answer(self, path: str) -> Answer:
        if path == "/health/live":
            return 200, JSON, self._json({"alive": True, "state": self._health.state})
        if path in ("/health/ready", "/health"):
            report = await self._health.report()
            return (200 if report.ready else 503), JSON, self._json(report.as_json())
        if path == "/metrics":
            return 200, self._metrics.content_type.encode(), self._metrics.exposition()
        return UNKNOWN

    def _json(self, fields: dict[str, Any]) -> bytes:
        who = {"service": self._identity.service, "node": self._identity.node, "boot": self._identity.boot}
        return json.dumps({**who, **fields}, ensure_ascii=False).encode()


def shown_address(host: str, port: int) -> str:
    """Where the vitals of a process are, for others. Not by server.hostname: behind that other nodes may answer."""
    shown = socket.gethostname() if host in ("0.0.0.0", "::") else host  # noqa: S104
    return f"[{shown}]:{port}" if ":" in shown else f"{shown}:{port}"


async def open_vitals(sockets: list[socket.socket], health: Health, metrics: Metrics, identity: Identity) -> HttpServer:
    """Serve the vitals of a process."""
    app = Vitals(health, metrics, identity)
    server = server_on(app, sockets, max_connections=MAX_CONNECTIONS, grace=1.0)
    await server.start()
    return server
