"""Memory that smtp-in takes for many large messages at once, from their first octets until all are stored."""

import asyncio
import base64
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from bench.peers.peer import Peer, recipients
from bench.runner import Row

COUNT = 20
MEGABYTES = 50
LOOK_SECONDS = 0.005
NOTE = (
    f"{COUNT} messages of {MEGABYTES} MB at once, base64 that cannot be compressed; all memory of the processes' own "
    "(RssAnon), the interpreter and its libraries included, at its highest; what is mapped from files does not count"
)


def row(peer: Peer, pids: list[int]) -> Row:
    """The row; `pids` are the processes of smtp-in."""

    async def measure() -> float:
        async with _highest(pids) as found:
            barrier = asyncio.Barrier(COUNT)
            await asyncio.gather(*(_send(peer, number, barrier) for number in range(COUNT)))
        return found[0]

    name = f"memory for {COUNT} x {MEGABYTES} MB"
    return Row(name, "MB", False, measure, None, "", runs=2, note=NOTE)


async def _send(peer: Peer, number: int, barrier: asyncio.Barrier) -> None:
    """Every message is complete but for its end before any of them has it."""
    reader, writer = await asyncio.open_connection(peer.host, peer.port)
    who = recipients()[number % len(recipients())]
    writer.write(f"EHLO bench\r\nMAIL FROM:<a@example.net>\r\nRCPT TO:<{who}>\r\nDATA\r\n".encode())
    while not (await reader.readline()).startswith(b"354"):
        pass
    writer.write(b"Subject: large\r\nContent-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n")
    piece = base64.encodebytes(os.urandom(740_000)).replace(b"\n", b"\r\n")
    for _ in range(MEGABYTES):
        writer.write(piece)
        await writer.drain()
    await barrier.wait()
    writer.write(b".\r\n")
    answer = await reader.readline()
    writer.close()
    if not answer.startswith(b"250"):
        raise RuntimeError(answer.decode(errors="replace"))


@asynccontextmanager
async def _highest(pids: list[int]) -> AsyncIterator[list[float]]:
    """While the block lasts: the most memory that all the processes had, in MB."""
    found = [0.0]

    async def look() -> None:
        while True:
            found[0] = max(found[0], _own(pids))
            await asyncio.sleep(LOOK_SECONDS)

    looking = asyncio.create_task(look())
    try:
        yield found
    finally:
        looking.cancel()


def _own(pids: list[int]) -> float:
    texts = [Path(f"/proc/{pid}/status").read_text(encoding="ascii") for pid in pids]
    return sum(int(text.partition("RssAnon:")[2].split()[0]) for text in texts) / 1024
