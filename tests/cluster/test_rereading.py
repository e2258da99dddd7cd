"""Settings read again by running services: new clients find the new ones, old clients the old ones."""

import asyncio
import imaplib
import json
import signal
import urllib.request
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import Storage
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service
from posthorn_testkit.sink import Sink

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
PATIENCE = 60
SETTINGS = local("""
[cluster]
name = "test"
failure-after = "60s"
lease-ttl = "60s"
[server]
hostname = "node1.example.org"
data = "{folder}/node"
[server.listener.smtp]
bind = "127.0.0.1:0"
protocol = "smtp"
[server.listener.imap]
bind = "127.0.0.1:0"
protocol = "imap"
allow-plaintext-auth = {plaintext}
[server.listener.jmap]
bind = "127.0.0.1:0"
protocol = "jmap"
allow-plaintext-auth = true
[smtp-in]
max-message-size = "{size}kB"
duplicate-window = "{window}s"
[imap]
append-limit = "{size}kB"
[jmap]
max-size-upload = "{size}kB"
[smtp-out]
relay = "{relay}"
poll = "100ms"
""")
Write = Callable[..., Path]


@pytest.fixture
def write(postgres_dsn: str, tmp_path: Path) -> Write:
    """Writes the settings file, and returns its path."""

    def written(*, size: int = 100, window: int = 300, plaintext: str = "true", relay: str = "127.0.0.1:1") -> Path:
        path = tmp_path / "node.toml"
        path.write_text(
            SETTINGS.format(
                folder=tmp_path, dsn=postgres_dsn, size=size, window=window, plaintext=plaintext, relay=relay
            )
        )
        return path

    return written


async def read_again(process: ServiceProcess) -> dict[str, Any]:
    """Have the process look, and return what it says that it took, or why it took nothing."""
    known = len(process.lines)
    process.signal(signal.SIGHUP)
    words = ("settings read again", "settings kept as they were")
    return await process.logged(
        lambda line: line["event"] in words and any(line is each for each in process.lines[known:])
    )


class Talk:
    """A client of SMTP."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    @classmethod
    async def to(cls, address: dict[str, Any]) -> "Talk":
        found = cls(*await asyncio.open_connection(address["host"], address["port"]))
        await found._reader.readline()
        return found

    async def size(self) -> int:
        """What EHLO says that a message may have, in KiB."""
        self._writer.write(b"EHLO client.example.net\r\n")
        lines = []
        while not lines or lines[-1][3:4] == b"-":
            lines.append(await self._reader.readline())
        return next(int(line.split()[1]) for line in lines if line[4:].startswith(b"SIZE ")) >> 10


async def test_limits_of_smtp_are_those_of_the_file_when_a_client_comes(storage: Storage, write: Write) -> None:
    async with running_service("posthorn_smtp_in", write()) as process, asyncio.timeout(PATIENCE):
        address = await process.listening("smtp")
        old = await Talk.to(address)
        assert await old.size() == 100
        write(size=200, window=60)
        assert (await read_again(process))["changed"] == ["smtp-in.max-message-size"]
        later = await process.logged(lambda line: line["event"] == "settings changed that need a restart")
        assert later["keys"] == ["smtp-in.duplicate-window"]
        assert (await old.size(), await (await Talk.to(address)).size()) == (100, 200)
        write().write_text(write().read_text() + '[smtp-in.filter."f"]\ntype = "clamd"\naddress = "127.0.0.1:1"\n')
        assert (await read_again(process))["event"] == "settings read again"
        broken = '[smtp-in.filter."f"]\ntype = "clamd"\naddress = "127.0.0.1:1"\nlisteners = ["nope"]\n'
        write(size=300).write_text(write(size=300).read_text() + broken)
        refused = await read_again(process)
        assert 'there is no listener "nope"' in refused["problems"][0]
        assert await (await Talk.to(address)).size() == 100
        assert await process.end() == 0, process.story()


async def test_imap_offers_new_clients_what_the_file_says(storage: Storage, account: Any, write: Write) -> None:
    await account("ann@example.org", "secret")

    def client(address: dict[str, Any]) -> imaplib.IMAP4:
        return imaplib.IMAP4(address["host"], address["port"], timeout=PATIENCE)

    def append_limit(connected: imaplib.IMAP4) -> bytes:
        if connected.state == "NONAUTH":
            connected.login("ann@example.org", "secret")
        (found,) = connected.status("INBOX", "(APPENDLIMIT)")[1]
        assert isinstance(found, bytes)
        return found

    async with running_service("posthorn_imap", write()) as process, asyncio.timeout(PATIENCE):
        address = await process.listening("imap")
        old = await asyncio.to_thread(client, address)
        assert b"APPENDLIMIT 102400" in await asyncio.to_thread(append_limit, old)
        write(size=200)
        assert (await read_again(process))["changed"] == ["imap.append-limit"]
        new = await asyncio.to_thread(client, address)
        assert b"APPENDLIMIT 204800" in await asyncio.to_thread(append_limit, new)
        assert b"APPENDLIMIT 102400" in await asyncio.to_thread(append_limit, old)
        write(size=200, plaintext="false")
        assert (await read_again(process))["changed"] == ["server.listener.imap.allow-plaintext-auth"]
        assert "LOGINDISABLED" in (await asyncio.to_thread(client, address)).capabilities
        assert await process.end() == 0, process.story()


async def test_jmap_shows_its_limits_of_now(storage: Storage, account: Any, write: Write) -> None:
    await account("ann@example.org", "secret")

    def limit(place: list[Any]) -> int:
        asked = urllib.request.Request(f"http://{place[0]}:{place[1]}/jmap/session")
        asked.add_header("Authorization", "Basic " + b64encode(b"ann@example.org:secret").decode())
        with urllib.request.urlopen(asked, timeout=PATIENCE) as answer:
            session = json.load(answer)
        return int(session["capabilities"]["urn:ietf:params:jmap:core"]["maxSizeUpload"]) >> 10

    async with running_service("posthorn_jmap", write()) as process, asyncio.timeout(PATIENCE):
        (place,) = (await process.listening("jmap"))["bind"]
        assert await asyncio.to_thread(limit, place) == 100
        write(size=200)
        assert (await read_again(process))["changed"] == ["jmap.max-size-upload"]
        assert await asyncio.to_thread(limit, place) == 200
        assert await process.end() == 0, process.story()


async def test_mail_goes_to_the_relay_that_the_file_names_now(storage: Storage, write: Write) -> None:
    async with (
        Sink() as before,
        Sink() as after,
        running_service("posthorn_smtp_out", write(relay=before.address)) as process,
    ):
        await process.logged(lambda line: line["event"] == "ready")
        for number, sink in enumerate((before, after)):
            if sink is after:
                write(relay=after.address)
                assert (await read_again(process))["changed"] == ["smtp-out.relay"]
            blob = await storage.blobs.prepare(b"Message-ID: <%d@example.org>\r\n\r\ntext\r\n" % number)
            recipient = NewRecipient("u@example.net", "example.net")
            await storage.queue.enqueue(NewQueueMessage("", blob, [recipient]))
            await sink.wait(1, PATIENCE)
        assert (len(before.mails), len(after.mails)) == (1, 1)
        assert await process.end() == 0, process.story()
