"""smtp-in as a process of its own: settings from a file, killed between 250 and the next command, ended by SIGTERM."""

import asyncio
import smtplib
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from posthorn_storage import Storage
from posthorn_testkit.process import ServiceProcess, running_service

pytestmark = pytest.mark.postgres

SETTINGS = """
[cluster]
name = "test"
lease-ttl = "4s"
[server]
hostname = "in.example.org"
data = "{folder}"
[server.listener.smtp]
bind = "127.0.0.1:0"
protocol = "smtp"
[store.postgres]
type = "postgresql"
dsn = "{dsn}"
[store.fs]
type = "fs"
path = "{folder}/blobs"
[reports.dmarc]
enable = true
[metrics]
bind = "127.0.0.1:0"
[log]
format = "json"
[smtp-in]
limits.large-deliveries = 2
"""


@pytest.fixture
def run(
    postgres_dsn: str, storage: Storage, tmp_path: Path
) -> Callable[[], AbstractAsyncContextManager[ServiceProcess]]:
    """`async with run() as process` runs one on the test's database."""
    path = tmp_path / "node.toml"
    path.write_text(SETTINGS.format(folder=tmp_path, dsn=postgres_dsn))
    return lambda: running_service("posthorn_smtp_in", path)


def send(port: int, number: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail("e@f.net", ["ann@example.org"], f"Message-ID: <{number}@f.net>\r\n\r\n{number}\r\n")


async def total(storage: Storage, account: Any) -> int:
    return sum(box.total for box in await storage.mail.mailboxes(account.id))


async def test_nothing_acknowledged_is_lost_by_kill_and_a_process_leaves_on_sigterm(
    storage: Storage, account: Any, run: Any
) -> None:
    ann = await account("ann@example.org")
    acknowledged = 0

    async def keep_sending(port: int) -> None:
        nonlocal acknowledged
        while True:
            await asyncio.to_thread(send, port, acknowledged)
            acknowledged += 1

    async with run() as process:
        sending = asyncio.create_task(keep_sending((await process.listening("smtp"))["port"]))
        async with asyncio.timeout(60):
            while acknowledged < 10:  # noqa: ASYNC110 (a bounded poll)
                await asyncio.sleep(0.005)
        await process.kill()
    with pytest.raises((OSError, smtplib.SMTPException)):
        await sending
    assert acknowledged <= await total(storage, ann) <= acknowledged + 1
    before = await total(storage, ann)
    async with run() as process:
        await asyncio.to_thread(send, (await process.listening("smtp"))["port"], 1_000_000)
        assert await total(storage, ann) == before + 1
        assert await process.end() == 0, process.story()


def high_water(pid: int) -> float:
    """The most memory that a process has had so far, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


async def test_large_messages_do_not_take_their_size_for_each_connection(
    storage: Storage, account: Any, run: Any
) -> None:
    ann = await account("ann@example.org")
    count, piece, size = 10, b"x" * 998 + b"\r\n", 20_000_000

    async def converse(port: int, begun: asyncio.Barrier) -> bytes:
        """All messages are complete but for their end before any of them has it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"EHLO c\r\nMAIL FROM:<e@f.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
        while not (await reader.readline()).startswith(b"354 "):
            pass
        for _ in range(size // (64 * len(piece))):
            writer.write(piece * 64)
            await writer.drain()
        await begun.wait()
        await begun.wait()
        writer.write(b".\r\n")
        answer = await reader.readline()
        writer.close()
        return answer

    async with run() as process:
        port, pid = (await process.listening("smtp"))["port"], process.pid
        before, begun = high_water(pid), asyncio.Barrier(count + 1)
        senders = [asyncio.create_task(converse(port, begun)) for _ in range(count)]
        await begun.wait()
        received = high_water(pid) - before
        await begun.wait()
        answers = await asyncio.gather(*senders)
        stored = high_water(pid) - before
        assert await process.end() == 0, process.story()
    assert all(answer.startswith(b"250 ") for answer in answers), answers
    assert await total(storage, ann) == count
    # Each keeps less than a MiB while it arrives; two at a time are in memory whole, while they are stored.
    assert received < 4 * count
    assert stored < 2 * 3 * 20 + 4 * count
