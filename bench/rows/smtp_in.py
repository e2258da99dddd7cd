"""Messages per second that smtp-in answers 250: durable, in a mailbox. Reference: bare commits of the same bytes."""

import asyncio
import itertools
import time

import asyncpg

from bench.cluster import Cluster
from bench.runner import Row

MESSAGES = 1_000
SESSIONS = 10
SIZE = 4_000
_serial = itertools.count()


def message() -> bytes:
    """A message of about SIZE bytes with an identity of its own."""
    n = next(_serial)
    identity = f"<{time.time_ns()}.{n}@x>"
    head = f"From: <a@example.net>\r\nTo: <b@example.org>\r\nSubject: n {n}\r\nMessage-ID: {identity}\r\n\r\n"
    line = b"The quick brown fox jumps over the lazy dog, again and again.\r\n"
    return head.encode() + line * ((SIZE - len(head)) // len(line))


async def expect(reader: asyncio.StreamReader, code: bytes) -> None:
    """Read one whole reply. Raises RuntimeError when it has another code."""
    while True:
        line = await reader.readline()
        if not line.startswith(code):
            raise RuntimeError(f"{line!r} instead of {code!r}")
        if line[3:4] == b" ":
            return


async def _session(host: str, port: int, recipient: str, count: int) -> None:
    reader, writer = await asyncio.open_connection(host, port)
    await expect(reader, b"220")
    writer.write(b"EHLO bench.invalid\r\n")
    await expect(reader, b"250")
    for _ in range(count):
        writer.write(f"MAIL FROM:<a@example.net>\r\nRCPT TO:<{recipient}>\r\nDATA\r\n".encode())
        await expect(reader, b"250")
        await expect(reader, b"250")
        await expect(reader, b"354")
        writer.write(message() + b".\r\n")
        await expect(reader, b"250")
    writer.write(b"QUIT\r\n")
    await expect(reader, b"221")
    writer.close()
    await writer.wait_closed()


def rows(cluster: Cluster) -> list[Row]:
    """The row."""
    host, port = cluster.address("smtp")
    recipients = [name for name, _ in cluster.accounts]

    async def measure() -> float:
        begun = time.perf_counter()
        share = MESSAGES // SESSIONS
        await asyncio.gather(*(_session(host, port, recipients[n % len(recipients)], share) for n in range(SESSIONS)))
        return MESSAGES / (time.perf_counter() - begun)

    async def reference() -> float:
        async def commits(count: int) -> None:
            connection = await asyncpg.connect(cluster.dsn)
            await connection.execute("CREATE TABLE IF NOT EXISTS bench_bare (id bigserial PRIMARY KEY, content bytea)")
            for _ in range(count):
                await connection.execute("INSERT INTO bench_bare (content) VALUES ($1)", message())
            await connection.close()

        await commits(1)
        begun = time.perf_counter()
        await asyncio.gather(*(commits(MESSAGES // SESSIONS) for _ in range(SESSIONS)))
        return MESSAGES / (time.perf_counter() - begun)

    note = f"{MESSAGES} messages of {SIZE} bytes on {SESSIONS} connections; the load generator runs on the same cores"
    return [Row("SMTP in, durable", "messages/s", True, measure, reference, "one INSERT and commit each", 5, note)]
