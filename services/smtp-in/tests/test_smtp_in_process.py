"""smtp-in as a process of its own: settings from a file, killed between 250 and the next command, ended by SIGTERM."""

import asyncio
import base64
import os
import smtplib
import threading
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import Any

import pytest

from posthorn_storage import Storage
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service

pytestmark = pytest.mark.postgres

SETTINGS = local("""
[cluster]
name = "test"
lease-ttl = "4s"
[server]
hostname = "in.example.org"
data = "{folder}"
[server.listener.smtp]
bind = "127.0.0.1:0"
protocol = "smtp"
[reports.dmarc]
enable = true
[smtp-in]
limits.large-deliveries = 2
""")


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


BACKENDS = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"


async def total(storage: Storage, account: Any) -> int:
    return sum(box.total for box in await storage.mail.mailboxes(account.id))


async def test_nothing_acknowledged_is_lost_by_kill_and_a_process_leaves_on_sigterm(
    storage: Storage, account: Any, run: Any
) -> None:
    ann = await account("ann@example.org")
    acknowledged = 0
    own = await storage._database.fetchval(BACKENDS)

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
    async with asyncio.timeout(90):  # what the database has of the dead process it may still store
        while await storage._database.fetchval(BACKENDS) > own:  # noqa: ASYNC110  the database tells nobody
            await asyncio.sleep(0.05)
    assert acknowledged <= await total(storage, ann) <= acknowledged + 1
    before = await total(storage, ann)
    async with run() as process:
        await asyncio.to_thread(send, (await process.listening("smtp"))["port"], 1_000_000)
        assert await total(storage, ann) == before + 1
        assert await process.end() == 0, process.story()


def own_memory(pid: int) -> float:
    """Memory that a process has now of its own, what it has mapped of files aside, in MB."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(status.partition("RssAnon:")[2].split()[0]) / 1024


class Peak:
    """The most memory of its own that a process was seen to have while the block lasted, above what it had before."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._before = self._most = own_memory(pid)
        self._ended = threading.Event()
        self._watch = threading.Thread(target=self._look)

    def __enter__(self) -> "Peak":
        self._watch.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._watch.join()

    @property
    def megabytes(self) -> float:
        return self._most - self._before

    def _look(self) -> None:
        while not self._ended.wait(0.002):
            self._most = max(self._most, own_memory(self._pid))


async def test_large_messages_are_never_in_memory_whole(storage: Storage, account: Any, run: Any) -> None:
    ann = await account("ann@example.org")
    count, megabytes = 20, 10
    head = b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\ntext\r\n--b\r\n'
    head += b"Content-Type: application/zip\r\nContent-Transfer-Encoding: base64\r\n\r\n"
    # What cannot be compressed, so that its stored form is large too.
    piece = base64.encodebytes(os.urandom(768_000)).replace(b"\n", b"\r\n")

    async def converse(port: int, begun: asyncio.Barrier, number: int) -> bytes:
        """All messages are complete but for their end before any of them has it."""
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"EHLO c\r\nMAIL FROM:<e@f.net>\r\nRCPT TO:<ann@example.org>\r\nDATA\r\n")
        while not (await reader.readline()).startswith(b"354 "):
            pass
        writer.write(b"Subject: %d\r\n" % number + head)
        for _ in range(megabytes):
            writer.write(piece)
            await writer.drain()
        await begun.wait()
        writer.write(b"--b--\r\n.\r\n")
        answer = await reader.readline()
        writer.close()
        return answer

    async with run() as process:
        port, begun = (await process.listening("smtp"))["port"], asyncio.Barrier(count)
        with Peak(process.pid) as peak:
            answers = await asyncio.gather(*(converse(port, begun, number) for number in range(count)))
        assert await process.end() == 0, process.story()
    assert all(answer.startswith(b"250 ") for answer in answers), answers
    boxes = await storage.mail.mailboxes(ann.id)
    assert sum(box.total for box in boxes) == count
    assert sum(box.size for box in boxes) > count * megabytes * 1_000_000
    # Each keeps less than a MiB while it arrives. While they are stored, two at a time, they take a few pieces each.
    assert peak.megabytes < 2 * count + megabytes
