"""Who guesses passwords at one node is refused by both, whatever service it comes to next."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from posthorn_storage import Storage
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
GUESSER, OTHER = "127.0.0.9", "127.0.0.8"
PATIENCE = 60
SETTINGS = local("""
[auth.throttle]
delay = "0s"
[auth.ban]
failures = "3/1h"
[cluster]
name = "test"
node-id = {node}
secret = "a secret of both nodes"
heartbeat = "200ms"
[server]
hostname = "node{node}.example.org"
data = "{folder}/node{node}"
[server.listener.smtp]
bind = "127.0.0.1:0"
protocol = "smtp"
[server.listener.imap]
bind = "127.0.0.1:0"
protocol = "imap"
allow-plaintext-auth = true
""")


async def said(process: ServiceProcess, listener: str, source: str, text: bytes = b"") -> bytes:
    """What a client from this address hears first, or in answer to a line; b"" when it is not let in."""
    address = await process.listening(listener)
    async with asyncio.timeout(PATIENCE):
        try:
            reader, writer = await asyncio.open_connection(address["host"], address["port"], local_addr=(source, 0))
            heard = await reader.readline()
            if text and heard:
                writer.write(text)
                heard = await reader.readline()
        except ConnectionError:
            return b""
        writer.close()
        return heard


async def test_guesses_at_one_node_shut_the_doors_of_both(
    storage: Storage, account: Any, postgres_dsn: str, tmp_path: Path
) -> None:
    await account("ann@example.org", "secret")
    for node in (1, 2):
        text = SETTINGS.format(node=node, folder=tmp_path, dsn=postgres_dsn)
        (tmp_path / f"node{node}.toml").write_text(text)
    async with (
        running_service("posthorn_imap", tmp_path / "node1.toml") as first,
        running_service("posthorn_smtp_in", tmp_path / "node2.toml") as second,
    ):
        assert (await said(second, "smtp", GUESSER)).startswith(b"220 ")
        for guess in range(4):
            line = f"a LOGIN ann@example.org guess{guess}\r\n".encode()
            assert (await said(first, "imap", GUESSER, line)).startswith(b"a NO ")
        for process in (first, second):
            told = await process.logged(lambda line: line["event"] == "banned")
            assert (told["network"], told["source"]) == (f"{GUESSER}/32", "automatic")
        assert await said(first, "imap", GUESSER) == b""
        assert (await said(second, "smtp", GUESSER)).startswith(b"421 4.7.0 ")
        assert (await said(first, "imap", OTHER, b"a LOGIN ann@example.org secret\r\n")).startswith(b"a OK ")
        assert (await said(second, "smtp", OTHER)).startswith(b"220 ")
