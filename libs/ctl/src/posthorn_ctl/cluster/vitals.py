"""Asks a process of the cluster whether it is ready, over its own health endpoint."""

import json
from dataclasses import dataclass

from posthorn_node.asking import get


@dataclass(frozen=True, slots=True)
class Vital:
    """`reason` says why it is not ready; "" when it is."""

    ready: bool
    reason: str


async def ask(host: str, port: int, limit: float = 3.0) -> Vital:
    """One GET of /health/ready; an answer that does not come within `limit` seconds is one of not ready."""
    try:
        status, body = await get(host, port, "/health/ready", limit)
    except (OSError, TimeoutError):
        return Vital(ready=False, reason="does not answer")
    except ValueError:
        return Vital(ready=False, reason="answers no HTTP")
    if status == 200:
        return Vital(ready=True, reason="")
    return Vital(ready=False, reason=_reason(body))


def _reason(body: bytes) -> str:
    """What a report of not ready complains of."""
    try:
        report = json.loads(body)
    except ValueError:
        return "is not ready"
    probes = report.get("probes", {})
    bad = [f"{name}: {probe.get('detail')}" for name, probe in probes.items() if not probe.get("ok")]
    return "; ".join(bad) or str(report.get("state", "is not ready"))
