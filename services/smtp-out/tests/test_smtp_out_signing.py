"""DKIM on what is sent: judged by another implementation (dkimpy), with its keys looked up in a real name server."""

import asyncio
import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import dkim
import dns.resolver
import pytest
import structlog
from structlog.testing import capture_logs

from posthorn_delivery.keys import KEY_SECONDS
from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey, QueueMessageId
from posthorn_model.queue_items import DueRecipient
from posthorn_node.metrics import Metrics
from posthorn_smtp_out.figures import Figures
from posthorn_smtp_out.protocol.content import in_lines
from posthorn_smtp_out.signing import MOST_SIGNATURES, Signer
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.dkim import DkimStore, NewDkimKey, imported, made
from posthorn_testkit.dns import DnsServer

pytestmark = pytest.mark.postgres
DOMAIN = "example.org"
RSA, ED25519 = made("rsa"), made("ed25519")
LOG = structlog.wrap_logger(structlog.WriteLogger(io.StringIO()))
MESSAGE = (
    b"From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: =?utf-8?q?Gr=C3=BC=C3=9Fe?=  from  here\r\n"
    b"Date: Fri, 30 Jan 2026 10:00:00 +0000\r\nMessage-ID: <1@example.org>\r\n\r\nText \t with  space \r\n.\r\n\r\n\r\n"
)


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    return replace(storage_settings, secrets=("the secret of all nodes",))


class Desk:
    """A signer over the test's database, whose time is told."""

    def __init__(self, storage: Storage, store: DkimStore | None = None) -> None:
        self.now = 0.0
        self.storage = storage
        self.metrics = Metrics()
        self.signer = Signer(store or storage.dkim, lambda: self.now, LOG, Figures(self.metrics))

    async def add(self, *keys: Any, domain: str = DOMAIN) -> None:
        for key in keys:
            await self.storage.dkim.add(NewDkimKey(domain, key, active=True))

    async def sign(self, content: bytes = MESSAGE, number: int = 1, domain: str | None = DOMAIN) -> bytes:
        return await self.signer.signed(due(number, domain), content)


def due(number: int, domain: str | None) -> DueRecipient:
    return DueRecipient(
        id=number, message=QueueMessageId(number), shard=0, site="example.net", address="bob@example.net",
        sender="ann@example.org", blob=BlobKey(b""), size=1, attempt=0, created_at=datetime(2026, 1, 30, tzinfo=UTC),
        notify=None, orcpt=None, smtputf8=False, eight_bit=False, ret=None, envid=None, in_doubt=False,
        signing_domain=domain,
    )  # fmt: skip


@asynccontextmanager
async def judge(storage: Storage, domain: str = DOMAIN) -> AsyncIterator[Callable[[bytes], Awaitable[list[bool]]]]:
    """`await judged(message)`: for each signature, from the top, whether dkimpy takes it."""
    keys = [key for key in await storage.dkim.of([domain]) if key.state in ("active", "retired")]
    texts = {key.record_name: [key.record_text[at : at + 255] for at in (0, 255)] for key in keys}
    records = {name: {"TXT": [" ".join(f'"{each}"' for each in text if each)]} for name, text in texts.items()}
    async with DnsServer(records) as server:
        resolver = dns.resolver.Resolver(configure=False)
        resolver.nameservers, resolver.port = ["127.0.0.1"], server.port

        def text_of(name: bytes, timeout: int = 5) -> bytes:
            answer = resolver.resolve(name.decode().rstrip("."), "TXT", lifetime=60)
            return b"".join(answer[0].strings)

        def verdict(message: bytes, number: int) -> bool:
            try:
                return bool(dkim.DKIM(message).verify(number, dnsfunc=text_of))
            except dkim.ValidationError:
                return False

        def verdicts(message: bytes) -> list[bool]:
            count = message.partition(b"\r\n\r\n")[0].count(b"DKIM-Signature:")
            return [verdict(message, number) for number in range(count)]

        async def judged(message: bytes) -> list[bool]:
            return await asyncio.to_thread(verdicts, message)

        yield judged


@pytest.mark.parametrize(
    "content",
    [
        MESSAGE,
        MESSAGE.partition(b"\r\n\r\n")[0] + b"\r\n\r\n",
        MESSAGE + b"\x80\xff no text\r\n" * 20_000,
        MESSAGE.replace(b"Ann <", "Änn <".encode()),
        in_lines(MESSAGE.replace(b"\r\n", b"\n") + b"bare\rends"),
        b"Reply-To: eve@example.com\r\nCc: x@example.com\r\n" + MESSAGE,
    ],
    ids=["text", "no body", "octets", "utf-8", "mended", "more fields"],
)
async def test_another_implementation_takes_both_signatures(storage: Storage, content: bytes) -> None:
    desk = Desk(storage)
    await desk.add(RSA, ED25519)
    sent = await desk.sign(content)
    assert sent.endswith(content)
    async with judge(storage) as judged:
        assert await judged(sent) == [True, True]
        for changed in (
            sent.replace(b"ann@example.org", b"eve@example.org"),
            b"Subject: another\r\n" + sent,
            b"From: ceo@example.org\r\n" + sent,
            b"Reply-To: eve@example.com\r\n" + sent,
            sent + b"more\r\n",
        ):
            assert await judged(changed) == [False, False]


async def test_a_signature_is_made_once_and_is_the_same_everywhere(storage: Storage) -> None:
    desk, other = Desk(storage), Desk(storage)
    await desk.add(RSA, ED25519)
    first, again = await asyncio.gather(desk.sign(), desk.sign())
    assert first == again == await desk.sign() == await other.sign()
    told = desk.metrics.exposition().decode()
    assert 'smtp_out_dkim_signatures_total{outcome="signed"} 1.0' in told
    for number in range(2, MOST_SIGNATURES + 20):
        desk.signer._remember(QueueMessageId(number), desk.signer._signed[QueueMessageId(1)])
        desk.signer._signed.move_to_end(QueueMessageId(1))
    assert len(desk.signer._signed) == MOST_SIGNATURES


async def test_a_rotation_between_two_attempts_is_harmless(storage: Storage) -> None:
    desk = Desk(storage)
    await desk.add(RSA)
    before = await desk.sign()
    await storage.dkim.add(NewDkimKey(DOMAIN, made("rsa")))
    (waiting,) = [key for key in await storage.dkim.of([DOMAIN]) if key.state == "waiting"]
    await storage.dkim.activate(DOMAIN, waiting.selector)
    assert await desk.sign() == before
    assert await desk.sign(number=2) == before, "keys are remembered for a while"
    desk.now += KEY_SECONDS
    after = await desk.sign(number=3)
    assert after != before
    assert waiting.selector.encode() in after
    async with judge(storage) as judged:
        assert await judged(before) == await judged(after) == [True]


async def test_what_nobody_vouches_for_is_sent_as_it_is(storage: Storage) -> None:
    desk = Desk(storage)
    await desk.add(RSA)
    assert await desk.sign(domain=None) == MESSAGE
    assert await desk.sign(number=2, domain="example.net") == MESSAGE
    assert await desk.sign(number=3, domain="") == MESSAGE
    without = MESSAGE.partition(b"\r\n")[2]
    assert await desk.sign(without, number=4) == without, "RFC 6376 5.4: From must be signed"
    await desk.add(ED25519, domain="example.net")
    desk.now += KEY_SECONDS
    assert (await desk.sign(number=2, domain="example.net")).startswith(b"DKIM-Signature: ")


async def test_mail_waits_for_keys_that_cannot_be_opened(storage: Storage) -> None:
    desk = Desk(storage, DkimStore(storage._database, KeyRing(["another secret of a node"])))
    await desk.add(ED25519)
    for _ in range(2):
        with capture_logs() as logs, pytest.raises(Unavailable, match=r"The DKIM keys of example\.org cannot be used"):
            desk.signer._log = structlog.get_logger()
            await desk.sign()
        assert [(each["log_level"], each["domain"]) for each in logs] == [("error", DOMAIN)]
    desk.signer._keys._store = storage.dkim
    assert (await desk.sign()).startswith(b"DKIM-Signature: ")


def test_keys_of_other_programs_can_be_read() -> None:
    assert imported(RSA.pem) == RSA
