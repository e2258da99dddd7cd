"""From publish in one process to another hearing it, at 1,000 events a second; beside bare aiokafka."""

import asyncio
import statistics
import time
from collections.abc import Callable

from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic

from bench.cluster import Cluster
from bench.runner import Row
from posthorn_bus import BusIdentity, KafkaSettings, open_bus
from posthorn_model.events import Changed, ChangeKind, Topic
from posthorn_model.ids import AccountId, Modseq, NodeId

EVENTS = 2_000
RATE = 1_000


async def _paced(send: Callable[[int], None], count: int) -> None:
    begun = time.perf_counter()
    for n in range(count):
        delay = begun + n / RATE - time.perf_counter()
        if delay > 0:
            await asyncio.sleep(delay)
        send(n)


def percentile(values: list[float], share: float) -> float:
    """The value below which `share` of the values lie."""
    return statistics.quantiles(values, n=1000, method="inclusive")[round(share * 1000) - 1]


async def _ours(servers: str) -> list[float]:
    settings = KafkaSettings((servers,), prefix=f"bench-{time.time_ns()}")
    sender = open_bus(settings, BusIdentity(NodeId(901), "bench", "a"), None)
    hearer = open_bus(settings, BusIdentity(NodeId(902), "bench", "b"), None)
    await sender.start()
    await hearer.start()
    sent: dict[int, float] = {}
    taken: list[float] = []
    heard = asyncio.Event()

    async def hear() -> None:
        async for event in hearer.subscribe(Topic.CHANGES):
            if isinstance(event, Changed):
                heard.set()
                if event.account in sent:
                    taken.append((time.perf_counter() - sent.pop(event.account)) * 1000)
                if len(taken) == EVENTS:
                    return

    def send(n: int) -> None:
        sent[n + 1] = time.perf_counter()
        sender.publish(Changed(AccountId(n + 1), Modseq(n + 1), frozenset({ChangeKind.EMAIL})))

    async with asyncio.timeout(60):
        task = asyncio.create_task(hear())
        while not heard.is_set():
            sender.publish(Changed(AccountId(1_000_000), Modseq(1), frozenset({ChangeKind.EMAIL})))
            await asyncio.sleep(0.05)
        await _paced(send, EVENTS)
        await task
    await sender.stop()
    await hearer.stop()
    return taken


async def bare_latencies(servers: str) -> list[float]:
    """Milliseconds from send to receipt of EVENTS records, by the bare client at RATE."""
    topic = f"bench-bare-{time.time_ns()}"
    admin = AIOKafkaAdminClient(bootstrap_servers=servers)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
    producer = AIOKafkaProducer(bootstrap_servers=servers, linger_ms=2, acks=1)
    await producer.start()
    await producer.send_and_wait(topic, b"0")
    consumer = AIOKafkaConsumer(topic, bootstrap_servers=servers, auto_offset_reset="earliest", fetch_max_wait_ms=100)
    await consumer.start()
    await consumer.getone()
    sent: dict[bytes, float] = {}
    taken: list[float] = []
    pending: list[object] = []

    async def hear() -> None:
        while len(taken) < EVENTS:
            message = await consumer.getone()
            taken.append((time.perf_counter() - sent.pop(message.value)) * 1000)

    async def produce() -> None:
        begun = time.perf_counter()
        for n in range(EVENTS):
            delay = begun + n / RATE - time.perf_counter()
            if delay > 0:
                await asyncio.sleep(delay)
            value = str(n + 1).encode()
            sent[value] = time.perf_counter()
            pending.append(await producer.send(topic, value))

    async with asyncio.timeout(60):
        await asyncio.gather(hear(), produce())
    await producer.stop()
    await consumer.stop()
    return taken


def rows(cluster: Cluster) -> list[Row]:
    """Median and 99th percentile, each with the bare client's."""
    servers = cluster.kafka

    def row(name: str, share: float) -> Row:
        async def measure() -> float:
            return percentile(await _ours(servers), share)

        async def reference() -> float:
            return percentile(await bare_latencies(servers), share)

        note = f"{EVENTS} events at {RATE}/s, sender and hearer in one process"
        return Row(name, "ms", False, measure, reference, "bare aiokafka", 3, note)

    return [row("bus latency over Kafka, median", 0.5), row("bus latency over Kafka, p99", 0.99)]
