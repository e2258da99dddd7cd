"""smtp-out as a process, its settings on TLS from a file: what it obeys, what recipients keep, what it counts."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState, Terms
from posthorn_storage import Storage
from posthorn_testkit.authorities import self_signed
from posthorn_testkit.dns import DnsServer
from posthorn_testkit.process import running_service
from posthorn_testkit.sink import EXTENSIONS, Sink

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]
SITE, MX = "example.net", "mx.example.net"
IDENTITY = self_signed(MX)
SETTINGS = """
[cluster]
name = "test"
[server]
hostname = "out.example.org"
data = "{folder}"
[store.postgres]
type = "postgresql"
dsn = "{dsn}"
[store.fs]
type = "fs"
path = "{folder}/blobs"
[metrics]
bind = "127.0.0.1:0"
[resolver]
servers = ["{dns}"]
timeout = "60s"
dnssec = true
[reports.tls]
enable = true
[smtp-out]
port = {port}
poll = "100ms"
retry = ["1h"]
[smtp-out.tls-policy]
"*.lax.example" = "opportunistic"
"strict.example" = "required"
"""


async def enqueue(storage: Storage, site: str, **more: Any) -> int:
    blob = await storage.blobs.prepare(more.pop("content", b"Message-ID: <1@example.org>\r\n\r\ntext\r\n"))
    return await storage.queue.enqueue(NewQueueMessage("", blob, [NewRecipient(f"bob@{site}", site)], **more))


async def until_tried(storage: Storage, message: int) -> tuple[RecipientState, str]:
    """The state of the one recipient after its first attempt, and the reply that is kept."""
    async with asyncio.timeout(90):
        while not (await storage.queue.show(message)).recipients[0].attempt:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.02)
        while (await storage.queue.show(message)).recipients[0].state is RecipientState.IN_FLIGHT:  # noqa: ASYNC110
            await asyncio.sleep(0.02)
    recipient = (await storage.queue.show(message)).recipients[0]
    return recipient.state, recipient.reply


async def test_what_settings_and_dns_say_of_tls_is_obeyed(storage: Storage, postgres_dsn: str, tmp_path: Path) -> None:
    async with (
        Sink(tls=IDENTITY.server(tmp_path), extensions=(*EXTENSIONS, "REQUIRETLS")) as sink,
        DnsServer({MX: {"A": ["127.0.0.1"]}}, secure=True) as dns,
    ):
        for site in (SITE, "a.lax.example", "strict.example"):
            dns.put(site, {"MX": [f"10 {MX}."]})
        dns.put(f"_{sink.port}._tcp.{MX}", {"TLSA": ["3 1 1 " + "00" * 32]})
        dns.put(f"_smtp._tls.{SITE}", {"TXT": ['"v=TLSRPTv1; rua=mailto:tls@example.net"']})
        path = tmp_path / "node.toml"
        path.write_text(
            SETTINGS.format(folder=tmp_path, dsn=postgres_dsn, dns=dns.address, port=sink.port), encoding="utf-8"
        )
        lax = await enqueue(storage, "a.lax.example")
        strict = await enqueue(storage, "strict.example")
        careless = await enqueue(storage, SITE, content=b"TLS-Required: No\r\n\r\ntext\r\n")
        careful = await enqueue(storage, SITE, terms=Terms(require_tls=True))
        async with running_service("posthorn_smtp_out", path) as process:
            waiting, sent = RecipientState.WAITING, RecipientState.DELIVERED
            refused = "454 4.7.5 TLS is required by DANE: no TLSA record matches what the server showed"
            assert await until_tried(storage, careful) == (waiting, refused)
            state, reply = await until_tried(storage, strict)
            assert state is waiting
            assert reply.startswith(
                "454 4.7.5 TLS is required by the settings: the certificate is refused: self-signed"
            )
            assert (await until_tried(storage, lax))[0] is sent
            assert (await until_tried(storage, careless))[0] is sent
            usual = await enqueue(storage, SITE)  # after it the site is left alone
            assert await until_tried(storage, usual) == (waiting, refused)
            assert await process.end() == 0, process.story()
        assert sorted(mail.recipients for mail in sink.mails) == [("bob@a.lax.example",), (f"bob@{SITE}",)]
        assert all(mail.tls for mail in sink.mails)
    rows = await storage._database.fetch(
        "SELECT domain, facts->>'result' AS result, sum(count) FROM tls_result GROUP BY 1, 2"  # of any day
    )
    assert [tuple(row) for row in rows] == [(SITE, "validation-failure", 2)], "on leaving it writes what it counted"
    await storage._database.execute("TRUNCATE tls_report, tls_result")
