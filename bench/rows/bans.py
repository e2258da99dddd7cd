"""From the answer to the last of too many guesses on node 1 until node 2 refuses the guesser; beside bare events."""

import asyncio
import statistics
import time
from collections.abc import Callable
from ipaddress import IPv4Address
from itertools import count

from bench.cluster import Cluster
from bench.rows.bus import bare_latencies
from bench.runner import Row

GUESSES = 3
OPTIONS = (
    *("--set", 'auth.throttle.delay="0s"'),
    *("--set", f'auth.ban.failures="{GUESSES}/1h"'),
)
"""Of `posthorn up`: few guesses are too many, and none is answered late."""
FIRST = IPv4Address("127.0.8.1")
BANS = 20
"""Of one run; each has an address of its own."""
PATIENCE = 60.0


async def _until_refused(cluster: Cluster, address: str) -> float:
    """Milliseconds from the answer to the last guess until node 2 does not greet this address any more."""
    name, _ = cluster.accounts[0]
    for guess in range(GUESSES + 1):
        reader, writer = await asyncio.open_connection(*cluster.address("imap", 1), local_addr=(address, 0))
        if not await reader.readline():
            raise RuntimeError("banned before it guessed")
        writer.write(f'a LOGIN "{name}" "guess {guess}"\r\n'.encode())
        await reader.readline()
        writer.close()
    begun = time.perf_counter()
    async with asyncio.timeout(PATIENCE):
        while await _is_greeted(cluster.address("imap", 2), address):
            pass
    return (time.perf_counter() - begun) * 1000


async def _is_greeted(server: tuple[str, int], address: str) -> bool:
    try:
        reader, writer = await asyncio.open_connection(*server, local_addr=(address, 0))
        greeting = await reader.readline()
    except ConnectionError:
        return False
    writer.close()
    return bool(greeting)


def rows(cluster: Cluster) -> list[Row]:
    """Median and slowest; the cluster has two nodes and Kafka, and was started with OPTIONS."""
    addresses = count()

    def row(name: str, figure: Callable[[list[float]], float]) -> Row:
        async def measure() -> float:
            taken = [await _until_refused(cluster, str(FIRST + next(addresses))) for _ in range(BANS)]
            return figure(taken)

        async def reference() -> float:
            return figure(await bare_latencies(cluster.kafka))

        note = f"{BANS} addresses, one after the other; the bound is 2,000 ms"
        return Row(name, "ms", False, measure, reference, "bare aiokafka event", 3, note)

    return [
        row("last guess to refusal on another node, median", statistics.median),
        row("last guess to refusal on another node, slowest", max),
    ]
