"""From the 250 for a message on node 1 to EXISTS on an IDLE connection of either node; beside bare events on Kafka."""

import asyncio
import time

from bench.cluster import Cluster
from bench.rows.bus import bare_latencies, percentile
from bench.rows.smtp_in import expect, message
from bench.runner import Row

MESSAGES = 200


async def _latencies(cluster: Cluster, node: int) -> list[float]:
    """Milliseconds of MESSAGES deliveries, one after the other, heard at a node."""
    name, password = cluster.accounts[1]
    reader, writer = await asyncio.open_connection(*cluster.address("imap", node))
    await reader.readline()
    for tag, text in (("a", f'LOGIN "{name}" "{password}"'), ("b", "SELECT INBOX")):
        writer.write(f"{tag} {text}\r\n".encode())
        while not (line := await reader.readline()).startswith(tag.encode()):
            pass
        if b" OK" not in line:
            raise RuntimeError(line)
    writer.write(b"c IDLE\r\n")
    await reader.readline()
    smtp_reader, smtp_writer = await asyncio.open_connection(*cluster.address("smtp", 1))
    await expect(smtp_reader, b"220")
    smtp_writer.write(b"EHLO bench.invalid\r\n")
    await expect(smtp_reader, b"250")
    taken = []
    for _ in range(MESSAGES):
        smtp_writer.write(f"MAIL FROM:<a@example.net>\r\nRCPT TO:<{name}>\r\nDATA\r\n".encode())
        for code in (b"250", b"250", b"354"):
            await expect(smtp_reader, code)
        smtp_writer.write(message() + b".\r\n")
        heard = asyncio.create_task(_exists(reader))
        await expect(smtp_reader, b"250")
        begun = time.perf_counter()
        async with asyncio.timeout(60):
            taken.append(max(0.0, (await heard - begun) * 1000))
    for each in (writer, smtp_writer):
        each.close()
    return taken


async def _exists(reader: asyncio.StreamReader) -> float:
    """When the next EXISTS came."""
    while not (await reader.readline()).rstrip().endswith(b"EXISTS"):
        pass
    return time.perf_counter()


def rows(cluster: Cluster) -> list[Row]:
    """Median and 99th percentile; the cluster has two nodes and Kafka."""

    def row(name: str, share: float, node: int, asked: str) -> Row:
        async def measure() -> float:
            return percentile(await _latencies(cluster, node), share)

        async def reference() -> float:
            return percentile(await bare_latencies(cluster.kafka), share)

        note = f"{MESSAGES} messages, one after the other; asked: {asked}"
        return Row(name, "ms", False, measure, reference, "bare aiokafka event", 3, note)

    return [
        row("250 to EXISTS on the same node, median", 0.5, 1, "9 ms"),
        row("250 to EXISTS on another node, median", 0.5, 2, "13 ms"),
        row("250 to EXISTS on another node, p99", 0.99, 2, "50 ms"),
    ]
