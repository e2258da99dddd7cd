"""A process and its lookup store: it starts and is ready without it, says so, and counts what it asks."""

from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_assembly import Parts, assemble
from posthorn_ctl.embedded import ports
from posthorn_node.node import Node, new_node
from posthorn_node.settings import NodeSettings, parse, validate
from posthorn_testkit.redis_servers import RedisServer

pytestmark = pytest.mark.postgres
Start = Callable[[str], Awaitable[tuple[Node, Parts]]]


@pytest_asyncio.fixture
async def start(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Start]:
    """`await start(toml)`: a process of a node with a database, a folder for blobs and these settings besides."""
    running: list[tuple[Node, Parts]] = []

    async def begin(text: str) -> tuple[Node, Parts]:
        text += f'[store.postgres]\ntype = "postgresql"\ndsn = "{postgres_dsn}"\n'
        text += f'[store.fs]\ntype = "fs"\npath = "{tmp_path}"\n[cluster]\nsecret = "x"\nname = "{tmp_path.name}"\n'
        settings = validate(parse(text.encode(), Path("node.toml"), {}), {"": NodeSettings})[""]
        node = new_node("imap", settings, None)
        node.health.limit = 60.0
        parts = await assemble(node)
        node.health.state = "ready"
        running.append((node, parts))
        return node, parts

    yield begin
    for node, parts in running:
        await node.tasks.stop()
        await parts.close()


async def test_the_data_store_answers_look_ups_by_default(start: Start) -> None:
    node, _ = await start("")
    report = await node.health.report()
    assert report.ready
    assert report.probes["lookup"].detail.startswith("PostgreSQL ")


async def test_a_process_starts_and_is_ready_without_its_redis(start: Start) -> None:
    (port,) = ports.free_ports(1)
    node, _ = await start(f'[storage]\nlookup = "r"\n[store.r]\ntype = "redis"\nurls = "redis://127.0.0.1:{port}"\n')
    report = await node.health.report()
    assert report.ready
    assert report.probes["lookup"].detail == "not used: the lookup store does not answer"
    assert b'posthorn_lookup_calls_total{operation="probe",outcome="unavailable"} 1.0' in node.metrics.exposition()


async def test_look_ups_go_to_redis_under_the_clusters_name(start: Start, redis_server: RedisServer) -> None:
    text = f'[storage]\nlookup = "r"\n[store.r]\ntype = "redis"\nurls = "{redis_server.url}"\n'
    node, parts = await start(text)
    assert (await node.health.report()).probes["lookup"].detail == "Redis server"
    assert await parts.storage.lookup.count("n", 60.0) == 1
    assert redis_server.say("GET", f"{node.settings.cluster.name}:c:n") == "1"
    shown = node.metrics.exposition()
    assert b'posthorn_lookup_calls_total{operation="count",outcome="ok"} 1.0' in shown
    assert b'posthorn_lookup_seconds_count{operation="count"} 1.0' in shown
