"""Several processes of a service on one node, as a container runs them: each serves, and one may be killed.

Real processes on one database; what a client was told is stored stays stored, and is there once.
"""

import asyncio
import imaplib
import os
import signal
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from posthorn_node.asking import get
from posthorn_storage import Storage
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
SENDERS, LETTERS = 6, 12
PATIENCE = 120
SETTINGS = local("""
[cluster]
name = "test"
heartbeat = "200ms"
[server]
hostname = "node1.example.org"
data = "{folder}/node"
processes = 2
[server.listener.smtp]
bind = "127.0.0.1:0"
protocol = "smtp"
[server.listener.imap]
bind = "127.0.0.1:0"
protocol = "imap"
allow-plaintext-auth = true
""")


def pids(process: ServiceProcess) -> dict[str, int]:
    """The crew, by name; the latest of each."""
    return {line["name"]: line["pid"] for line in process.lines if line["event"] == "process started"}


async def all_ready(process: ServiceProcess, restarted: int = 0) -> None:
    """Both processes, and so many that took the place of one."""

    def ready(_line: dict[str, Any]) -> bool:
        return sum(line["event"] == "ready" for line in process.lines) >= 2 + restarted

    await process.logged(ready)


async def served(process: ServiceProcess, metric: str) -> set[str]:
    """By which processes of the crew clients were served, as their common metrics tell."""
    host, _, port = (await process.logged(lambda line: line["event"] == "answering health checks"))[
        "address"
    ].partition(":")
    _, body = await get(host, int(port), "/metrics", PATIENCE)
    lines = [line for line in body.decode().splitlines() if line.startswith(f"{metric}{{")]
    return {line.split('"')[1] for line in lines if float(line.rsplit(" ", 1)[1])}


def subjects(client: imaplib.IMAP4) -> list[str]:
    client.login("ann@example.org", "secret")
    client.select()
    _, data = client.fetch("1:*", "(BODY.PEEK[HEADER.FIELDS (SUBJECT)])")
    return [part[1].decode().strip().removeprefix("Subject: ") for part in data if isinstance(part, tuple)]


async def command(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, text: bytes) -> bytes:
    """A command and the last line of its reply. Raises ConnectionError when the server is gone."""
    writer.write(text)
    while line := await reader.readline():
        if line[3:4] == b" ":
            return line
    raise ConnectionResetError


async def send(address: tuple[str, int], subject: str) -> None:
    """One letter, tried again until it is taken, as any sender does."""
    letter = f"From: e@f.example\r\nMessage-ID: <{subject}@f.example>\r\nSubject: {subject}\r\n\r\ntext\r\n.\r\n"
    while True:
        try:
            reader, writer = await asyncio.open_connection(*address)
            await command(reader, writer, b"")
            replies = [await command(reader, writer, b"EHLO client.example.net\r\n")]
            replies.append(await command(reader, writer, b"MAIL FROM:<e@f.example>\r\n"))
            replies.append(await command(reader, writer, b"RCPT TO:<ann@example.org>\r\n"))
            assert (await command(reader, writer, b"DATA\r\n")).startswith(b"354 ")
            replies.append(await command(reader, writer, letter.encode()))
            writer.close()
        except (ConnectionError, OSError):
            continue
        assert all(reply.startswith(b"250 ") for reply in replies), replies
        return


async def test_a_killed_process_of_two_loses_no_letter(
    storage: Storage, account: Any, postgres_dsn: str, tmp_path: Path
) -> None:
    await account("ann@example.org", "secret")
    clients: list[imaplib.IMAP4] = []
    (path := tmp_path / "node.toml").write_text(SETTINGS.format(folder=tmp_path, dsn=postgres_dsn))
    async with running_service("posthorn_smtp_in", path) as process, asyncio.timeout(PATIENCE):
        await all_ready(process)
        bound = await process.logged(lambda line: line["event"] == "bound" and line["listener"] == "smtp")
        address = tuple(bound["addresses"][0])
        sent: list[str] = []

        async def sender(number: int) -> None:
            for letter in range(LETTERS):
                await send(address, f"letter-{number}-{letter}")
                sent.append(f"letter-{number}-{letter}")
                if len(sent) == SENDERS * LETTERS // 3:
                    while await served(process, "posthorn_smtp_in_connections_total") != {"0", "1"}:  # noqa: ASYNC110
                        await asyncio.sleep(0.05)
                    os.kill(pids(process)["process 1"], signal.SIGKILL)

        await asyncio.gather(*(sender(number) for number in range(SENDERS)))
        await all_ready(process, restarted=1)
        # One node, and each process is a member of its own, which says that it is ready with its next heartbeat; the
        # killed one has left, as its successor said.
        while [found.state for found in await storage.nodes.all()].count("ready") < 2:  # noqa: ASYNC110  what others do
            await asyncio.sleep(0.05)
        members = [found for found in await storage.nodes.all() if found.state == "ready"]
        assert {found.node for found in members} == {1}
        assert len({found.boot for found in members}) == 2
        assert await process.end() == 0, process.story()
    async with running_service("posthorn_imap", path) as process, asyncio.timeout(PATIENCE):
        await all_ready(process)
        bound = await process.logged(lambda line: line["event"] == "bound" and line["listener"] == "imap")
        while await served(process, "posthorn_imap_connections") != {"0", "1"}:
            clients.append(imaplib.IMAP4(*bound["addresses"][0], timeout=PATIENCE))
        for client in clients:
            assert Counter(await asyncio.to_thread(subjects, client)) == Counter(sent)
        assert await process.end() == 0, process.story()
    assert Counter(found.state for found in await storage.nodes.all()) == {"left": 5}
