"""Health over real HTTP: live while it runs, ready only when every probe has just said so."""

import asyncio
import contextlib
import json
import logging
import urllib.error
import urllib.request
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio

from posthorn_model.clock import SystemClock
from posthorn_model.errors import Unavailable
from posthorn_node.health import Health, ProbeResult
from posthorn_node.listen import open_sockets
from posthorn_node.logs import Identity
from posthorn_node.metrics import Metrics
from posthorn_node.vitals import open_vitals


class Asked:
    """The vitals' server and a client that asks it."""

    def __init__(self) -> None:
        self.health = Health(SystemClock(), fresh=0.0)
        self.metrics = Metrics()
        self.base = ""

    async def get(self, path: str, method: str = "GET") -> tuple[int, Any]:
        return await asyncio.to_thread(self._get, path, method)

    def _get(self, path: str, method: str) -> tuple[int, Any]:
        request = urllib.request.Request(self.base + path, method=method)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                status, body, kind = answer.status, answer.read(), answer.headers["content-type"]
        except urllib.error.HTTPError as error:
            status, body, kind = error.code, error.read(), error.headers["content-type"]
        return status, json.loads(body) if body and kind == "application/json" else body.decode()


@pytest_asyncio.fixture
async def asked() -> AsyncIterator[Asked]:
    client = Asked()
    server = await open_vitals(
        open_sockets("127.0.0.1:0"), client.health, client.metrics, Identity("imap", "7", "boot1")
    )
    host, port = server.addresses[0]
    client.base = f"http://{host}:{port}"
    yield client
    await server.stop()


async def fine() -> str:
    return "PostgreSQL 18.1"


async def refused() -> str:
    raise Unavailable("the database does not answer", dsn="postgresql://u:s3cr3t@h/d")


async def broken() -> str:
    raise ValueError("s3cr3t")


async def hanging() -> str:
    await asyncio.Event().wait()
    return "never"


async def stubborn() -> str:
    """Ignores its first cancellation."""
    with contextlib.suppress(asyncio.CancelledError):
        await asyncio.Event().wait()
    await asyncio.Event().wait()
    return "never"


async def test_live_from_the_first_moment(asked: Asked) -> None:
    assert await asked.get("/health/live") == (
        200,
        {"service": "imap", "node": "7", "boot": "boot1", "alive": True, "state": "starting"},
    )


async def test_ready_when_started_and_all_probes_are_fine(asked: Asked) -> None:
    asked.health.add("database", fine)
    status, answer = await asked.get("/health/ready")
    assert (status, answer["ready"], answer["state"]) == (503, False, "starting")
    asked.health.state = "ready"
    status, answer = await asked.get("/health/ready")
    assert (status, answer["ready"]) == (200, True)
    assert answer["probes"]["database"]["detail"] == "PostgreSQL 18.1"
    asked.health.state = "draining"
    status, answer = await asked.get("/health/ready")
    assert (status, answer["state"], answer["probes"]["database"]["ok"]) == (503, "draining", True)


async def test_failing_probe_answers_503_with_its_public_reason(asked: Asked) -> None:
    asked.health.state = "ready"
    asked.health.add("blobs", fine)
    asked.health.add("database", refused)
    asked.health.add("bus", broken)
    status, answer = await asked.get("/health/ready")
    assert status == 503
    assert answer["probes"]["blobs"]["ok"] is True
    assert answer["probes"]["database"]["detail"] == "the database does not answer"
    assert answer["probes"]["bus"]["detail"] == "ValueError"
    assert "s3cr3t" not in json.dumps(answer)
    asked.health.remove("database")
    asked.health.remove("bus")
    assert (await asked.get("/health/ready"))[0] == 200


@pytest.mark.parametrize("probe", [hanging, stubborn])
async def test_probe_that_does_not_answer_is_cut_off(asked: Asked, probe: Any) -> None:
    asked.health.state = "ready"
    asked.health.add("database", probe, limit=0.05)
    asked.health.add("blobs", fine)
    status, answer = await asked.get("/health/ready")
    assert status == 503
    assert answer["probes"]["database"]["detail"] == "no answer within 0.05 s"
    assert answer["probes"]["blobs"]["ok"] is True


async def test_log_hears_of_each_change_with_what_the_peer_may_not_see() -> None:
    heard: list[tuple[str, bool, Any]] = []
    down = False

    def changed(name: str, result: ProbeResult) -> None:
        heard.append((name, result.ok, dict(result.fields)))

    health = Health(SystemClock(), fresh=0.0, changed=changed)

    async def probe() -> str:
        return await (refused() if down else fine())

    health.add("database", probe)
    for step in (False, True, True, False, False):
        down = step
        await health.report()
    assert heard == [("database", False, {"dsn": "postgresql://u:s3cr3t@h/d"}), ("database", True, {})]


async def test_what_the_start_waits_for_is_told(asked: Asked) -> None:
    asked.health.waiting("database", "waiting: connection refused")
    status, answer = await asked.get("/health/ready")
    assert (status, answer["probes"]["database"]["detail"]) == (503, "waiting: connection refused")
    asked.health.waiting("database", None)
    assert (await asked.get("/health/ready"))[1]["probes"] == {}


async def test_callers_at_the_same_time_share_one_run_of_the_probes() -> None:
    health = Health(SystemClock())
    runs = 0
    go, running = asyncio.Event(), asyncio.Event()

    async def counted() -> str:
        nonlocal runs
        runs += 1
        running.set()
        await go.wait()
        return "ok"

    health.add("database", counted)
    callers = [asyncio.create_task(health.report()) for _ in range(50)]
    await running.wait()
    go.set()
    reports = await asyncio.gather(*callers)
    assert runs == 1
    assert all(report.probes["database"].ok for report in reports)


async def test_one_impatient_caller_does_not_end_the_probes_of_others() -> None:
    health = Health(SystemClock())
    go = asyncio.Event()
    running = asyncio.Event()

    async def slow() -> str:
        running.set()
        await go.wait()
        return "ok"

    health.add("database", slow)
    impatient, patient = asyncio.create_task(health.report()), asyncio.create_task(health.report())
    await running.wait()
    impatient.cancel()
    go.set()
    assert (await patient).probes["database"].ok


async def test_metrics_are_exposed(asked: Asked) -> None:
    asked.metrics.counter("deliveries", "Messages delivered.", ["result"]).labels("stored").inc(3)
    asked.metrics.gauge("posthorn_sessions", "Open sessions.").set(2)
    asked.metrics.histogram("commit_seconds", "Time of a commit.").observe(0.02)
    status, text = await asked.get("/metrics")
    assert status == 200
    assert 'posthorn_deliveries_total{result="stored"} 3.0' in text
    assert "posthorn_sessions 2.0" in text
    assert 'posthorn_commit_seconds_bucket{le="0.025"} 1.0' in text
    assert "process_resident_memory_bytes" in text
    with pytest.raises(ValueError, match="posthorn_sessions"):
        asked.metrics.gauge("sessions", "Twice.")


async def test_other_paths_and_methods_are_refused(asked: Asked) -> None:
    assert (await asked.get("/health/ready", "DELETE"))[0] == 405
    assert (await asked.get("/../etc/passwd"))[0] == 404
    assert await asked.get("/health/live", "HEAD") == (200, "")


async def test_nothing_is_logged_for_a_request(asked: Asked, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    await asked.get("/health/live")
    assert [record for record in caplog.records if "GET" in record.getMessage()] == []
