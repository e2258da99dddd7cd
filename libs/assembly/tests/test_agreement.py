"""Nodes whose settings do not fit together, as the real node table has them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest
import structlog

from posthorn_assembly.agreement import COORDINATOR, coordinator, disagreements, watch_agreement
from posthorn_bus import KafkaSettings, NatsSettings, PeerSettings
from posthorn_model.cluster import Process
from posthorn_model.ids import NodeId
from posthorn_storage import Storage, StorageSettings
from posthorn_testkit.contracts.fleet import until

pytestmark = pytest.mark.postgres
KAFKA = coordinator(KafkaSettings(servers=("one:9092",), prefix="posthorn", group="posthorn"))
PEERS = coordinator(PeerSettings(secret="not shown"))


@pytest.fixture
async def storage(postgres_dsn: str) -> AsyncIterator[Storage]:
    storage = await Storage.open(StorageSettings(dsn=postgres_dsn, blobs=None, pool_size=2, failure_after=600.0))
    yield storage
    await storage.close()


async def join(storage: Storage, node: int, service: str, said: str | None, hostname: str = "mx.example.org") -> str:
    now = datetime.now(UTC)
    boot = f"{service}-{node}"
    address = {} if said is None else {COORDINATOR: said}
    await storage.nodes.claim_node(NodeId(node), f"token-{node}", 30.0)
    await storage.nodes.beat(
        Process(NodeId(node), service, boot, hostname, "", "ready", address, 0.0, now, now, True), f"token-{node}", 30.0
    )
    return boot


async def found(storage: Storage) -> list[str]:
    return disagreements(await storage.nodes.all())


async def test_nodes_that_coordinate_elsewhere_are_told_of(storage: Storage) -> None:
    await join(storage, 1, "imap", KAFKA)
    await join(storage, 2, "imap", KAFKA)
    await join(storage, 2, "jmap", None)  # of a release that said nothing
    assert await found(storage) == []
    boot = await join(storage, 3, "imap", PEERS)
    said = "kafka, topics posthorn.* on nodes 1, 2; peer-to-peer on node 3"
    assert await found(storage) == [f"cluster.coordinator must be the same on all nodes: {said}"]
    await storage.nodes.leave(boot)
    assert await found(storage) == []


async def test_topics_of_another_name_are_another_coordinator(storage: Storage) -> None:
    for node, prefix in ((1, "posthorn"), (2, "posthorn"), (3, "test")):
        said = coordinator(NatsSettings(servers=("nats://one:4222",), prefix=prefix))
        await join(storage, node, "imap", said)
    (problem,) = await found(storage)
    assert problem.endswith("nats, subjects posthorn.* on nodes 1, 2; nats, subjects test.* on node 3")


async def test_one_service_has_one_name(storage: Storage) -> None:
    await join(storage, 1, "smtp-in", KAFKA, "mx.example.org")
    await join(storage, 1, "imap", KAFKA, "imap.example.org")
    assert await found(storage) == []
    await join(storage, 2, "smtp-in", KAFKA, "mx2.example.org")
    assert await found(storage) == [
        "server.hostname should be the same wherever smtp-in runs: mx.example.org on node 1; mx2.example.org on node 2"
    ]


async def test_many_nodes_are_not_all_named(storage: Storage) -> None:
    now = datetime.now(UTC)
    processes = [
        Process(NodeId(n), "imap", str(n), "mx", "", "ready", {COORDINATOR: KAFKA if n else PEERS}, 0.0, now, now, True)
        for n in range(1000)
    ]
    (problem,) = disagreements(processes)
    assert problem.endswith(", 20, ...; peer-to-peer on node 0")


async def test_it_is_told_once_and_when_it_is_over(storage: Storage) -> None:
    await join(storage, 1, "imap", KAFKA)
    boot = await join(storage, 2, "imap", PEERS)
    with structlog.testing.capture_logs() as logs:
        watching = asyncio.create_task(watch_agreement(storage, structlog.get_logger(), every=0.01))
        await until(lambda: logs, "told")
        await storage.nodes.leave(boot)
        await until(lambda: len(logs) > 1, "told that it is over")
        watching.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await watching
    assert [entry["event"] for entry in logs] == [
        "nodes have different settings",
        "nodes have the same settings again",
    ]
