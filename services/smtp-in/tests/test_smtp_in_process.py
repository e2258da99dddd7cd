"""smtp-in as a process of its own: settings from a file, killed between 250 and the next command, ended by SIGTERM."""

import asyncio
import os
import signal
import smtplib
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_storage import Storage

pytestmark = pytest.mark.postgres

SETTINGS = """
[cluster]
name = "test"
lease-ttl = "4s"
[server]
hostname = "in.example.org"
data = "{folder}"
[server.listener.smtp]
bind = "127.0.0.1:{port}"
protocol = "smtp"
[store.postgres]
type = "postgresql"
dsn = "{dsn}"
[store.fs]
type = "fs"
path = "{folder}/blobs"
[metrics]
bind = "127.0.0.1:0"
[log]
format = "json"
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@pytest_asyncio.fixture
async def run(
    postgres_dsn: str, storage: Storage, tmp_path: Path
) -> AsyncIterator[Callable[[], Awaitable[tuple[asyncio.subprocess.Process, int]]]]:
    """`await run()` starts a process and returns it with its port once it listens."""
    started: list[asyncio.subprocess.Process] = []
    port = free_port()
    path = tmp_path / "node.toml"
    path.write_text(SETTINGS.format(folder=tmp_path, dsn=postgres_dsn, port=port))
    log = (tmp_path / "log").open("ab")

    async def begin() -> tuple[asyncio.subprocess.Process, int]:
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "posthorn_smtp_in", "--config", str(path),
            stdout=log, stderr=log, env={**os.environ, "POSTHORN_PARENT": str(os.getpid())},
        )  # fmt: skip
        started.append(process)
        async with asyncio.timeout(60):
            while True:
                assert process.returncode is None, (tmp_path / "log").read_text()
                try:
                    _, writer = await asyncio.open_connection("127.0.0.1", port)
                except ConnectionRefusedError:
                    await asyncio.sleep(0.05)
                else:
                    writer.close()
                    return process, port

    yield begin
    for process in started:
        if process.returncode is None:
            process.kill()
            await process.wait()
    log.close()


def send(port: int, number: int) -> None:
    with smtplib.SMTP("127.0.0.1", port, timeout=30) as client:
        client.sendmail("e@f.net", ["ann@example.org"], f"Message-ID: <{number}@f.net>\r\n\r\n{number}\r\n")


async def total(storage: Storage, account: Any) -> int:
    return sum(box.total for box in await storage.mail.mailboxes(account.id))


async def test_nothing_acknowledged_is_lost_by_kill_and_a_process_leaves_on_sigterm(
    storage: Storage, account: Any, run: Any, tmp_path: Path
) -> None:
    ann = await account("ann@example.org")
    process, port = await run()
    acknowledged = 0

    async def keep_sending() -> None:
        nonlocal acknowledged
        while True:
            await asyncio.to_thread(send, port, acknowledged)
            acknowledged += 1

    sending = asyncio.create_task(keep_sending())
    async with asyncio.timeout(60):
        while acknowledged < 10:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.005)
    process.kill()
    await process.wait()
    with pytest.raises((OSError, smtplib.SMTPException)):
        await sending
    assert acknowledged <= await total(storage, ann) <= acknowledged + 1
    before = await total(storage, ann)
    process, port = await run()
    await asyncio.to_thread(send, port, 1_000_000)
    assert await total(storage, ann) == before + 1
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 60) == 0, (tmp_path / "log").read_text()
