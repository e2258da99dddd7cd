"""The management API over real HTTP and the real database: who may ask, what it tells, what it refuses."""

import asyncio
import json
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime

import pytest
import pytest_asyncio
import structlog

from posthorn_bus import BusIdentity, Echo, PeerSettings, open_bus
from posthorn_maintenance.api import cluster
from posthorn_maintenance.api.app import ApiApp
from posthorn_maintenance.bus_watch import EchoTest, NodesHeard
from posthorn_model.clock import SystemClock
from posthorn_model.cluster import Process
from posthorn_model.errors import Unavailable
from posthorn_model.ids import NodeId
from posthorn_model.ports import BusHealth
from posthorn_node.http import server_on
from posthorn_node.listen import open_sockets
from posthorn_node.metrics import Metrics
from posthorn_storage import Storage, StorageSettings

Ask = Callable[..., Awaitable[tuple[int, dict[str, object]]]]


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    # The processes of these tests have one heartbeat.
    return replace(storage_settings, failure_after=600.0)


@pytest_asyncio.fixture
async def ask() -> AsyncIterator[Callable[[ApiApp], Awaitable[Ask]]]:
    servers = []

    async def serve(app: ApiApp) -> Ask:
        server = server_on(app, open_sockets("127.0.0.1:0"))
        await server.start()
        servers.append(server)

        async def request(path: str, *headers: str, method: str = "GET") -> tuple[int, dict[str, object]]:
            reader, writer = await asyncio.open_connection(*server.addresses[0])
            lines = [f"{method} {path} HTTP/1.1", "Host: x", "Connection: close", *headers, "", ""]
            writer.write("\r\n".join(lines).encode())
            async with asyncio.timeout(20):
                answer = await reader.read()
            writer.close()
            head, _, body = answer.partition(b"\r\n\r\n")
            return int(head.split()[1]), json.loads(body)

        return request

    yield serve
    for server in servers:
        await server.stop()


def app(token: str = "", resource: Callable[[], Awaitable[dict[str, object]]] | None = None) -> ApiApp:
    async def nothing() -> dict[str, object]:
        return {"ok": True}

    async def done() -> dict[str, object]:
        return {"done": True}

    return ApiApp({"/api/cluster": resource or nothing}, token, structlog.get_logger(), actions={"/api/act": done})


async def test_loopback_needs_no_token(ask: Callable[[ApiApp], Awaitable[Ask]]) -> None:
    request = await ask(app())
    assert await request("/api/cluster") == (200, {"ok": True})
    assert await request("/api/cluster/") == (200, {"ok": True})


@pytest.mark.parametrize(
    "header", ["", "Authorization: Bearer wrong", "Authorization: Basic c2VjcmV0", "Authorization: Bearer"]
)
async def test_a_set_token_is_asked_for(ask: Callable[[ApiApp], Awaitable[Ask]], header: str) -> None:
    request = await ask(app("secret"))
    status, problem = await request("/api/cluster", *([header] if header else []))
    assert status == 401
    assert "secret" not in json.dumps(problem)
    assert (await request("/api/cluster", "Authorization: Bearer secret"))[0] == 200


async def test_what_is_refused(ask: Callable[[ApiApp], Awaitable[Ask]]) -> None:
    request = await ask(app())
    status, problem = await request("/api/nothing")
    assert (status, problem["detail"]) == (404, "the resources are /api/cluster, /api/act")
    status, problem = await request("/api/cluster", "Content-Length: 0", method="POST")
    assert (status, problem["detail"]) == (405, "only GET is answered here")
    status, problem = await request("/api/act")
    assert (status, problem["detail"]) == (405, "only POST is answered here")
    assert await request("/api/act", "Content-Length: 0", method="POST") == (200, {"done": True})


async def test_errors_are_problems_and_the_service_lives(ask: Callable[[ApiApp], Awaitable[Ask]]) -> None:
    failing: list[Exception] = [Unavailable("the database is away"), RuntimeError("a secret detail")]

    async def resource() -> dict[str, object]:
        if failing:
            raise failing.pop(0)
        return {}

    request = await ask(app(resource=resource))
    assert await request("/api/cluster") == (
        503,
        {"type": "about:blank", "status": 503, "detail": "the database is away"},
    )
    status, problem = await request("/api/cluster")
    assert status == 500
    assert "secret detail" not in json.dumps(problem)
    assert (await request("/api/cluster"))[0] == 200


async def test_the_cluster_as_the_database_has_it(storage: Storage) -> None:
    bus = open_bus(PeerSettings(), BusIdentity(NodeId(1), "maintenance", "boot"), storage.nodes.peer_directory("boot"))
    await storage.leases.acquire(["role/purge.stores", "queue/3"], "nobody-here", 30)
    found = await cluster.describe("posthorn", storage, bus, {"purge.stores": ()}, shards=4)
    assert [shard["held"] for shard in found["shards"]] == [False, False, False, True]
    purge = next(role for role in found["roles"] if role["role"] == "purge.stores")
    assert purge["parts"] == [
        {"key": "role/purge.stores", "eligible": [], "node": None, "boot": "nobody-here", "epoch": 1, "held": True}
    ]
    assert found["nodes"] == []
    assert found["queue"]["waiting"] == 0
    assert found["bus"]["kind"] == "peer-to-peer"
    assert found["bus"]["lag"] == {"events": 0, "seconds": 0.0}
    assert (found["bus"]["heard"], found["bus"]["echo"]) == ([], None)


async def test_an_echo_test_names_who_answered_and_who_did_not(storage: Storage) -> None:
    nodes = storage.nodes
    identity = BusIdentity(NodeId(1), "maintenance", "here")
    bus = open_bus(PeerSettings(), identity, nodes.peer_directory("here"))
    echo = Echo(bus, identity, SystemClock())
    answering = asyncio.create_task(echo.answer())
    await asyncio.sleep(0)
    await nodes.claim_node(NodeId(1), "a", 60)
    for boot, service, state in (
        ("here", "maintenance", "ready"),
        ("gone", "imap", "ready"),
        ("new", "dav", "starting"),
    ):
        now = datetime.now(UTC)
        await nodes.beat(Process(NodeId(1), service, boot, "host", "", state, {}, 0.0, now, now, True), "a", 60)
    metrics = Metrics()
    test = EchoTest(echo, nodes, metrics, SystemClock(), structlog.get_logger())
    first, second = await asyncio.gather(test.run(), test.run())
    assert first is second is test.latest
    assert [(answer["node"], answer["service"], answer["boot"]) for answer in first["answers"]] == [
        (1, "maintenance", "here")
    ]
    assert first["silent"] == [{"node": 1, "service": "imap", "boot": "gone"}]
    shown = metrics.exposition().decode()
    assert "posthorn_bus_echo_silent 1.0" in shown
    assert 'posthorn_bus_echo_seconds{node="1"}' in shown
    answering.cancel()
    await asyncio.gather(answering, return_exceptions=True)


def test_when_each_node_was_heard_is_a_metric() -> None:
    metrics = Metrics()

    class Hearing:
        def health(self) -> BusHealth:
            return BusHealth("test", True, "", 0, 0, 0, 0, heard={NodeId(7): 1.5})

    metrics.registry.register(NodesHeard(Hearing()))  # type: ignore[arg-type]
    assert b'posthorn_bus_node_heard_seconds{node="7"} 1.5' in metrics.exposition()
