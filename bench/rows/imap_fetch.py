"""FETCH of 10,000 flags and envelopes. Reference: the same rows read with one bare statement."""

import asyncio
import time

import asyncpg

from bench.cluster import Cluster
from bench.runner import Row

MESSAGES = 10_000


async def command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, tag: str, text: bytes) -> int:
    """Send a command; returns how many lines came before its tagged OK."""
    writer.write(tag.encode() + b" " + text + b"\r\n")
    wanted = tag.encode() + b" "
    lines = 0
    while True:
        line = await reader.readline()
        if line.startswith(wanted):
            if not line.startswith(wanted + b"OK"):
                raise RuntimeError(line)
            return lines
        if not line:
            raise RuntimeError("connection closed")
        lines += 1


def rows(cluster: Cluster) -> list[Row]:
    """The rows; the mailbox is filled when the first one runs."""
    host, port = cluster.address("imap")
    name, password = cluster.accounts[0]
    filled = asyncio.Event()

    async def open_mailbox() -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(host, port, limit=1 << 20)
        await reader.readline()
        await command(reader, writer, "a", f'LOGIN "{name}" "{password}"'.encode())
        if not filled.is_set():
            await _fill(reader, writer)
            filled.set()
        await command(reader, writer, "s", b"SELECT Bench")
        return reader, writer

    async def fetch(items: bytes) -> float:
        reader, writer = await open_mailbox()
        begun = time.perf_counter()
        lines = await command(reader, writer, "f", b"FETCH 1:* (" + items + b")")
        taken = (time.perf_counter() - begun) * 1000
        if lines < MESSAGES:
            raise RuntimeError(f"{lines} lines for {MESSAGES} messages")
        writer.close()
        return taken

    async def bare(columns: str) -> float:
        connection = await asyncpg.connect(cluster.dsn)
        begun = time.perf_counter()
        found = await connection.fetch(
            f"SELECT b.uid, {columns} FROM mailbox_message b JOIN message m ON m.account_id = b.account_id "
            "AND m.id = b.message_id JOIN mailbox x ON x.account_id = b.account_id AND x.id = b.mailbox_id "
            "WHERE x.name = 'Bench' ORDER BY b.uid"
        )
        taken = (time.perf_counter() - begun) * 1000
        await connection.close()
        if len(found) != MESSAGES:
            raise RuntimeError(f"{len(found)} rows for {MESSAGES} messages")
        return taken

    return [
        Row(
            f"IMAP FETCH of {MESSAGES:,} flags",
            "ms",
            False,
            lambda: fetch(b"FLAGS"),
            lambda: bare("b.flags, b.keywords"),
            "bare SELECT of the same",
        ),
        Row(
            f"IMAP FETCH of {MESSAGES:,} envelopes",
            "ms",
            False,
            lambda: fetch(b"ENVELOPE"),
            lambda: bare("m.envelope"),
            "bare SELECT of the same",
        ),
    ]


async def _fill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A mailbox of MESSAGES messages, by APPEND and then COPY in doubling steps."""
    writer.write(b"c CREATE Bench\r\n")
    await reader.readline()
    text = b"From: A <a@example.net>\r\nTo: B <b@example.org>\r\nSubject: bench\r\nMessage-ID: <%d@x>\r\n\r\nHello\r\n"
    batch = 500
    for n in range(batch):
        content = text % n
        writer.write(b"p APPEND Bench {%d+}\r\n" % len(content) + content + b"\r\n")
    for _ in range(batch):
        while not (await reader.readline()).startswith(b"p OK"):
            pass
    await command(reader, writer, "s", b"SELECT Bench")
    have = batch
    while have < MESSAGES:
        step = min(have, MESSAGES - have)
        await command(reader, writer, "y", b"COPY 1:%d Bench" % step)
        have += step
        await command(reader, writer, "n", b"NOOP")
