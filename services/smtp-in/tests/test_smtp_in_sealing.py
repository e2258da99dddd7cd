"""What is passed on is sealed by ARC with what was found at the door: chains checked by dkimpy and by ourselves."""

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import dkim
import pytest
import pytest_asyncio

from posthorn_delivery import DomainKeys, Sealer
from posthorn_mail_auth.arc.validating import ArcResult, Result, validate
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_mail_auth.message import split
from posthorn_model.clock import SystemClock
from posthorn_storage import StorageSettings
from posthorn_storage.dkim import NewDkimKey, made
from posthorn_storage.queue import QueueFilter
from posthorn_testkit.dns import DnsServer

pytestmark = pytest.mark.postgres
KEYS = made("rsa"), made("ed25519")
ZONE = {"firm.test": {"TXT": ['"v=spf1 ip4:192.0.2.1 -all"'], "A": ["192.0.2.1"]}}
MESSAGE = "Authentication-Results: mx.example.org; dmarc=pass header.from=bank.test\nFrom: eve@firm.test\nSubject: hi"


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    return replace(storage_settings, secrets=("the secret of the cluster",))


class Door:
    """smtp-in, and the DNS in which its domain's keys are."""

    def __init__(self, service: Any, server: DnsServer) -> None:
        self.service = service
        self.server = server
        self.resolver = DnsResolver([("127.0.0.1", server.port)], timeout=60)

    async def send(self, *to: str, listener: str = "proxied", header: str = MESSAGE) -> None:
        recipients = "".join(f"C: RCPT TO:<{address}>\nS: 250 *\n" for address in to)
        async with await self.service.connect(listener) as talk:
            if listener == "proxied":
                talk.send(b"PROXY TCP4 192.0.2.1 192.0.2.99 1234 25\r\n")
            lines = "".join(f"C: {line}\n" for line in header.splitlines())
            hello = "LHLO" if listener == "lmtp" else "EHLO"
            await talk.play(f"S: 220 *\nC: {hello} mail.firm.test\nS: 250-*\nC: MAIL FROM:<eve@firm.test>\nS: 250 *")
            await talk.play(f"{recipients}C: DATA\nS: 354 *\n{lines}C:\nC: the body\nC: .\nS: 250 *")

    async def queued(self) -> list[bytes]:
        queue = self.service.parts.storage.queue
        return [await queue.message_blob(each.id) for each in await queue.messages(QueueFilter())]

    async def chain(self, content: bytes) -> ArcResult:
        """The chain of a message, which dkimpy must judge as we do."""
        found = await validate(split(content), self.resolver)

        def answer(name: bytes, timeout: int = 5) -> bytes:
            texts = self.server.records[name.decode().rstrip(".").lower()]["TXT"]
            return texts[0].replace('" "', "").strip('"').encode()

        verdict, _, _ = dkim.arc_verify(content, dnsfunc=answer)
        assert verdict.decode() == found.result.value
        return found


@pytest_asyncio.fixture
async def door(start: Any, people: Any) -> AsyncIterator[Door]:
    async with DnsServer(ZONE) as server:
        service = await start(resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60))
        store = service.parts.storage.dkim
        for key in KEYS:
            row = await store.add(NewDkimKey("example.org", key, active=True))
            text = row.record_text
            server.put(
                row.record_name, {"TXT": [" ".join(f'"{text[at : at + 250]}"' for at in range(0, len(text), 250))]}
            )
        yield Door(service, server)


async def test_forwards_and_redirects_are_sealed_with_what_was_found(door: Door, people: Any) -> None:
    storage = door.service.parts.storage
    await storage.distributions.put("forward", "ann@example.org", ["ann@example.com"])
    await storage.sieve.put(people[1].id, "main", 'redirect "bob@example.com";')
    await storage.sieve.activate(people[1].id, "main")
    await door.send("ann@example.org", "bob@example.org")
    forwarded, redirected = sorted(await door.queued(), key=lambda content: b"X-Sieve" in content)
    for content, mark in ((forwarded, b"Delivered-To: ann@"), (redirected, b"X-Sieve-Redirected-From: bob@")):
        assert await door.chain(content) == ArcResult(Result.PASS, sealers=("example.org",))
        head, _, rest = content.partition(mark)
        assert head.startswith(b"ARC-Seal: a=rsa-sha256;")
        assert b"cv=none" in head
        assert b"ARC-Authentication-Results: i=1; mx.example.org;\r\n\t" in head
        assert b"spf=pass" in head
        assert b"bank.test" not in head, "what was forged is not vouched for"
        assert b"Return-Path" not in rest


async def test_a_chain_goes_on(door: Door, people: Any) -> None:
    await door.service.parts.storage.distributions.put("forward", "ann@example.org", ["ann@example.com"])
    await door.send("ann@example.org")
    (first,) = await door.queued()
    await door.service.parts.storage.distributions.put("forward", "bob@example.org", ["bob@example.com"])
    await door.send("bob@example.org", header=first.decode().partition("\r\n\r\n")[0])
    (again,) = [content for content in await door.queued() if b"ann@example.com" not in content and b"i=2" in content]
    assert await door.chain(again) == ArcResult(Result.PASS, sealers=("example.org", "example.org"))


async def test_what_is_not_sealed(door: Door, people: Any) -> None:
    """Mail that was not judged, what a script has changed, and all of it where no key is, or none is wanted."""
    storage = door.service.parts.storage
    await storage.distributions.put("forward", "ann@example.org", ["ann@example.com"])
    await door.send("ann@example.org", listener="lmtp")
    script = 'require "editheader"; addheader "Authentication-Results" "mx.example.org; dmarc=pass; arc=none";'
    await storage.sieve.put(people[1].id, "main", f'{script} redirect "bob@example.com";')
    await storage.sieve.activate(people[1].id, "main")
    await door.send("bob@example.org")
    contents = await door.queued()
    assert len(contents) == 2
    assert all(b"ARC-Seal" not in content for content in contents)
    judged = b"Authentication-Results: mx.example.org; arc=none\r\nReceived: x\r\nFrom: a@b.test\r\n\r\n"
    sealer = door.service.parts.scripts.sealer
    assert (await sealer.sealed(judged, "ann@example.org", judged)).startswith(b"ARC-Seal: ")
    assert await sealer.sealed(judged, "ann@example.com", judged) == judged
    assert await Sealer(None, SystemClock(), sealer.log).sealed(judged, "ann@example.org", judged) == judged
    later = b"Received: x\r\n" + judged
    assert await sealer.sealed(later, "ann@example.org", later) == later
    locked = Sealer(DomainKeys(storage.dkim, SystemClock().monotonic), SystemClock(), sealer.log)
    storage.dkim.keys = type(storage.dkim.keys)(("another secret",))
    assert await locked.sealed(judged, "ann@example.org", judged) == judged
    assert "passed on without a seal" in door.service.log.getvalue()
