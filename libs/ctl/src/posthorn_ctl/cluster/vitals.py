"""Asks a process of the cluster whether it is ready, over its own health endpoint."""

import asyncio
import json
from dataclasses import dataclass

MAX_ANSWER = 256 * 1024


@dataclass(frozen=True, slots=True)
class Vital:
    """`reason` says why it is not ready; "" when it is."""

    ready: bool
    reason: str


async def ask(host: str, port: int, limit: float = 3.0) -> Vital:
    """One GET of /health/ready; an answer that does not come within `limit` seconds is one of not ready."""
    try:
        async with asyncio.timeout(limit):
            status, body = await _get(host, port)
    except (OSError, TimeoutError):
        return Vital(ready=False, reason="does not answer")
    except ValueError:
        return Vital(ready=False, reason="answers no HTTP")
    if status == 200:
        return Vital(ready=True, reason="")
    return Vital(ready=False, reason=_reason(body))


async def _get(host: str, port: int) -> tuple[int, bytes]:
    reader, writer = await asyncio.open_connection(host, port)
    try:
        writer.write(b"GET /health/ready HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        answer = b""
        while len(answer) < MAX_ANSWER and (piece := await reader.read(MAX_ANSWER)):
            answer += piece
    finally:
        writer.close()
    head, _, body = answer.partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if b" " in head else 0, body


def _reason(body: bytes) -> str:
    """What a report of not ready complains of."""
    try:
        report = json.loads(body)
    except ValueError:
        return "is not ready"
    probes = report.get("probes", {})
    bad = [f"{name}: {probe.get('detail')}" for name, probe in probes.items() if not probe.get("ok")]
    return "; ".join(bad) or str(report.get("state", "is not ready"))
