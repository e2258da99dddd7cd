"""SORT, THREAD and SEARCH of 10,000 messages. Reference: Dovecot's imap program over a maildir of the same messages."""

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager

from bench.cluster import Cluster
from bench.rows.imap_fetch import command
from bench.runner import Row
from posthorn_testkit.dovecot import PROGRAM, opened

MESSAGES = 10_000
APPENDED_AT_ONCE = 100
LIMIT = 1800.0
"""Seconds that the other program may run."""
COMMANDS = (
    ("SORT by subject", b"SORT (SUBJECT) UTF-8 ALL"),
    ("SORT by sender and date", b"SORT (FROM REVERSE DATE) UTF-8 ALL"),
    ("THREAD by references", b"THREAD REFERENCES UTF-8 ALL"),
    ("SEARCH TEXT", b"SEARCH TEXT orchard"),
)


def letter(number: int) -> bytes:
    """One of MESSAGES: threads of ten, a few hundred senders, one in fifty with the word that is looked for."""
    first = number - number % 10
    word = "orchard" if number % 50 == 0 else "garden"
    lines = [
        f"From: Person {number * 7 % 331} <person{number * 7 % 331}@example.net>",
        "To: ann@example.org",
        f"Subject: {'Re: ' if number % 10 else ''}Matter {first * 13 % 997}",
        f"Date: {1 + number % 28} Mar 2024 {number % 24:02}:{number % 60:02}:00 +0000",
        f"Message-ID: <{number}@example.net>",
    ]
    if number % 10:
        lines.append(f"References: <{first}@example.net> <{number - 1}@example.net>")
    lines += ["", *(f"line {n} of a letter about a {word}" for n in range(20)), ""]
    return "\r\n".join(lines).encode()


@contextmanager
def rows(cluster: Cluster) -> Iterator[list[Row]]:
    """The rows; the mailbox is filled when the first one runs, the other program's at once."""
    name, password = cluster.accounts[0]
    filled = asyncio.Event()

    async def ours(text: bytes) -> float:
        reader, writer = await asyncio.open_connection(*cluster.address("imap"), limit=1 << 22)
        await reader.readline()
        await command(reader, writer, "a", f'LOGIN "{name}" "{password}"'.encode())
        if not filled.is_set():
            await _fill(reader, writer)
            filled.set()
        await command(reader, writer, "s", b"SELECT Letters")
        begun = time.perf_counter()
        await command(reader, writer, "x", text)
        taken = (time.perf_counter() - begun) * 1000
        writer.close()
        return taken

    with ExitStack() as stack:
        ask = None
        if PROGRAM.exists():
            ask = stack.enter_context(opened([letter(number) for number in range(MESSAGES)], limit=LIMIT))

        async def theirs(text: bytes, ask: Callable[[bytes], bytes]) -> float:
            begun = time.perf_counter()
            await asyncio.to_thread(ask, text)
            return (time.perf_counter() - begun) * 1000

        yield [
            Row(
                f"IMAP {what} of {MESSAGES:,}",
                "ms",
                False,
                lambda text=text: ours(text),  # type: ignore[misc]
                (lambda text=text, ask=ask: theirs(text, ask)) if ask is not None else None,  # type: ignore[misc]
                "Dovecot, over a pipe" if ask is not None else "no Dovecot here",
            )
            for what, text in COMMANDS
        ]


async def _fill(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"c CREATE Letters\r\n")
    await reader.readline()
    for start in range(0, MESSAGES, APPENDED_AT_ONCE):
        contents = [letter(number) for number in range(start, start + APPENDED_AT_ONCE)]
        text = b"".join(b" {%d+}\r\n" % len(content) + content for content in contents)
        await command(reader, writer, "p", b"APPEND Letters" + text)
