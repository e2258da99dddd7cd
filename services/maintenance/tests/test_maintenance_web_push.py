"""push.send with a real push service: what devices read, when nothing is sent, what failures lead to, take-over."""

import asyncio
import base64
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import structlog
from cryptography.hazmat.primitives.asymmetric import ec

from posthorn_assembly.notices import PUSH_WANTED
from posthorn_bus import HeldLease, LeaseKeeper, LeaseTimes
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_mail_format.summary import summarize
from posthorn_maintenance.jobs.job import Tenure
from posthorn_maintenance.jobs.web_push import WebPush
from posthorn_maintenance.web_push.client import PushClient
from posthorn_maintenance.web_push.encryption import MAX_PLAIN, encrypted
from posthorn_maintenance.web_push.push import LONGEST_PAUSE, MOST_GREETINGS, PushAnswer, failed, judged, push_request
from posthorn_maintenance.web_push.vapid import signer
from posthorn_model.clock import SystemClock
from posthorn_model.errors import LeaseLost, NotPermitted, Unavailable
from posthorn_model.events import Changed, ChangeKind, Control, Topic
from posthorn_model.ids import AccountId, MailboxId, Modseq
from posthorn_model.mail import NewMessage, Role
from posthorn_node.metrics import Metrics
from posthorn_node.settings import WebPushSettings
from posthorn_storage import AccountRecord, Storage, StorageSettings
from posthorn_storage.purge import WHOLE, Share
from posthorn_storage.push import DuePush, NewSubscription, push_url
from posthorn_testkit.dns import DnsServer
from posthorn_testkit.push_service import CREATED, SILENT, Device, PushService

pytestmark = pytest.mark.postgres
LOG = structlog.get_logger()
CONTACT = "mailto:postmaster@example.org"
DEVICE = Device()
RAW = b"From: bob@example.net\r\nSubject: Hello\r\n\r\nGood morning.\r\n"


def answer(status: str, *fields: str) -> bytes:
    return "\r\n".join([f"HTTP/1.1 {status}", "Content-Length: 0", *fields, "", ""]).encode()


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    return replace(storage_settings, secrets=("the secret of all nodes",))


@pytest_asyncio.fixture
async def service(tmp_path: Path) -> AsyncIterator[PushService]:
    async with PushService(tmp_path) as running:
        yield running


class Bus:
    """What is heard is what the test says: like any bus, it may say nothing."""

    def __init__(self) -> None:
        self.events: asyncio.Queue[Changed | Control] = asyncio.Queue()

    async def subscribe(self, *_topics: Topic) -> AsyncIterator[Changed | Control]:
        while True:
            yield await self.events.get()


class Clock(SystemClock):
    """Stands still while a test wants it to."""

    standing: float | None = None

    def monotonic(self) -> float:
        return super().monotonic() if self.standing is None else self.standing


@dataclass
class World:
    """An account, a push service, and holders of the role."""

    storage: Storage
    service: PushService
    account: AccountId
    bus: Bus
    metrics: Metrics
    clock: Clock = field(default_factory=Clock)

    def settings(self, **more: Any) -> WebPushSettings:
        times = {"delay": 0.05, "interval": 3600.0, "timeout": 60.0}
        return WebPushSettings(**{"networks": ("127.0.0.0/8",), "ca": self.service.ca, **times, **more})

    async def lease(self, part: str = "") -> HeldLease:
        await self.storage._database.execute("UPDATE lease SET until = now()")
        # Nobody renews it: it must outlast the test.
        keeper = LeaseKeeper(self.storage.leases, f"boot {id(object())}", SystemClock(), LeaseTimes(ttl=600.0))
        (lease,) = await keeper.acquire([f"role/push.send{part}"])
        return lease

    def keep(self, lease: HeldLease, share: Share = WHOLE, **more: Any) -> "asyncio.Task[None]":
        """A holder at work."""
        settings = self.settings(**more)
        client = PushClient(settings, DnsResolver([("127.0.0.1", 1)], timeout=1.0))
        self.metrics = Metrics()
        job = WebPush(self.storage, self.bus, client, settings, CONTACT, self.clock, self.metrics)  # type: ignore[arg-type]
        return asyncio.create_task(job.keep(Tenure("push.send", lease, LOG, share)))

    @asynccontextmanager
    async def holder(self, **more: Any) -> AsyncIterator[HeldLease]:
        """A holder at work while the block runs; then it hands the role over."""
        lease = await self.lease()
        work = self.keep(lease, **more)
        yield lease
        lease.end()
        await work

    async def subscribe(self, device: Device | None = DEVICE, **more: Any) -> int:
        keys = (device.public, device.auth) if device else None
        new = NewSubscription("a device", f"{self.service.url}/to/{device is not None}", keys, **more)
        return (await self.storage.push.add(self.account, new, 10)).id

    async def verified(self, device: Device | None = DEVICE, **more: Any) -> int:
        """A subscription whose code was pushed and said back."""
        number = await self.subscribe(device, **more)
        row = await self.row(number)
        await self.storage._database.execute("UPDATE push_subscription SET greeted = true WHERE id = $1", number)
        await self.storage.push.change(self.account, number, code=row["code"])
        return number

    async def change(self) -> Modseq:
        """A message comes in; nobody is told."""
        boxes = await self.storage.mail.mailboxes(self.account)
        inbox = next(box.id for box in boxes if box.role is Role.INBOX)
        blob = await self.storage.blobs.prepare(RAW)
        (stored,) = await self.storage.mail.append([NewMessage(self.account, [MailboxId(inbox)], summarize(RAW), blob)])
        return await self.storage.mail.state(self.account) or stored.modseq

    def tell(self, modseq: int = 1) -> None:
        """The bus says that the account changed."""
        self.bus.events.put_nowait(Changed(self.account, Modseq(modseq), frozenset({ChangeKind.EMAIL})))

    async def row(self, number: int) -> Any:
        return await self.storage._database.fetchrow("SELECT * FROM push_subscription WHERE id = $1", number)

    async def until(self, number: int, test: Callable[[Any], bool]) -> Any:
        """The row of a subscription (None: it is gone), once it passes."""
        async with asyncio.timeout(90):
            while not test(row := await self.row(number)):  # noqa: ASYNC110  the database tells nobody
                await asyncio.sleep(0.02)
        return row

    async def fails(self, number: int, count: int, reason: str, pause: tuple[float, float]) -> None:
        """What is due fails for the `count`th time, for that reason, and is put off for so many seconds."""
        await self.storage._database.execute("UPDATE push_subscription SET due = now()")
        self.tell()
        row = await self.until(number, lambda row: row["failures"] == count)
        assert reason in row["problem"]
        seconds = "SELECT extract(epoch FROM due - now())::float8 FROM push_subscription"
        assert pause[0] - 15 < await self.storage._database.fetchval(seconds) < pause[1]

    async def looked(self) -> None:
        """A holder has looked at all subscriptions once."""
        async with asyncio.timeout(90):
            while b"push_subscriptions_behind{" not in self.metrics.exposition():  # noqa: ASYNC110  as above
                await asyncio.sleep(0.01)


@pytest_asyncio.fixture
async def world(storage: Storage, service: PushService, account: Callable[..., Awaitable[AccountRecord]]) -> World:
    ann = await account("ann@example.org", "secret")
    return World(storage, service, ann.id, Bus(), Metrics())


async def test_a_device_is_verified_and_then_told_of_changes(world: World) -> None:
    number = await world.subscribe()
    public = (await world.storage.push.vapid_key()).public
    async with world.holder():
        greeting = await world.service.taken(lambda _: True)
        message = greeting.message(DEVICE)
        assert (message["@type"], message["pushSubscriptionId"]) == ("PushVerification", f"p{number}")
        assert greeting.fields["content-encoding"] == "aes128gcm"
        assert greeting.fields["content-type"] == "application/json"
        assert (greeting.fields["ttl"], greeting.fields["urgency"]) == ("86400", "normal")
        claims = greeting.claims(public)
        assert (claims["aud"], claims["sub"]) == (world.service.url, CONTACT)
        await world.until(number, lambda row: row["greeted"])
        modseq = await world.change()
        world.tell()
        await world.storage.push.change(world.account, number, code=message["verificationCode"])
        world.bus.events.put_nowait(Control(PUSH_WANTED, {"account": world.account}))
        push = await world.service.taken(lambda push: push.message(DEVICE)["@type"] == "StateChange")
        expected = dict.fromkeys(["Mailbox", "Email", "EmailDelivery", "Thread"], str(modseq))
        assert push.message(DEVICE)["changed"] == {f"a{world.account}": expected}
        assert push.claims(public)["exp"] > claims["exp"] - 1
        await world.until(number, lambda row: row["pushed_modseq"] == modseq and row["pushed_at"] is not None)
    assert len(world.service.pushes) == 2
    text = world.metrics.exposition().decode()
    assert 'push_sent_total{result="verification"} 1.0' in text
    assert 'push_sent_total{result="pushed"} 1.0' in text
    assert message["verificationCode"] not in repr(push_request) + text


async def test_what_no_event_told_of_is_found_by_looking(world: World) -> None:
    await world.verified()
    async with world.holder(interval=1.0):
        await world.looked()
        modseq = await world.change()
        push = await world.service.taken(lambda _: True)
        assert str(modseq) in str(push.message(DEVICE))


async def test_many_changes_are_one_push_and_topics_tell_their_types_apart(world: World) -> None:
    number = await world.verified()
    async with world.holder(delay=0.3):
        await world.looked()
        world.clock.standing = world.clock.monotonic()  # however long the changes take, the delay is not over
        for _ in range(5):
            modseq = await world.change()
            world.tell()
        world.clock.standing = None
        await world.until(number, lambda row: row["pushed_modseq"] == modseq)
        assert len(world.service.pushes) == 1
        modseq = await world.change()
        world.tell()
        await world.until(number, lambda row: row["pushed_modseq"] == modseq)
        (identity, *_) = await world.storage.directory.identities(world.account)
        await world.storage.directory.put_identity(world.account, replace(identity, name="Ann"))
        world.tell()
        await world.service.count(3)
    topics = [push.fields["topic"] for push in world.service.pushes]
    assert topics[0] == topics[1] != topics[2], "a push takes the place only of one of the same types"
    assert all(len(topic) == 32 for topic in topics)


async def test_types_that_nobody_asked_for_are_passed_over(world: World) -> None:
    number = await world.verified(types=("Identity",))
    async with world.holder():
        modseq = await world.change()
        world.tell()
        await world.until(number, lambda row: row["pushed_modseq"] == modseq and row["pushed_at"] is None)
    assert world.service.pushes == []


async def test_without_keys_a_push_is_plain_json(world: World) -> None:
    number = await world.subscribe(None)
    async with world.holder():
        greeting = await world.service.taken(lambda _: True)
    assert greeting.message()["pushSubscriptionId"] == f"p{number}"
    assert "content-encoding" not in greeting.fields


async def test_nobody_is_there_any_more(world: World) -> None:
    numbers = [await world.verified(), await world.verified()]
    await world.change()
    world.service.answers += [answer("404 Not Found"), answer("410 Gone")]
    async with world.holder():
        for number in numbers:
            await world.until(number, lambda row: row is None)
    assert await world.storage.push.all(world.account) == []


async def test_failures_are_put_off_and_tried_again(world: World) -> None:
    number = await world.verified()
    modseq = await world.change()
    told = [
        (answer("429 Too Many Requests", "Retry-After: 500"), "answered 429", (499, 501)),
        (answer("503 Unavailable"), "answered 503", (23, 31)),
        (answer("302 Found", "Location: https://127.0.0.1:1/"), "answered 302", (47, 61)),
        (b"HTTP/1.1 201 Created\r\n" + b"X: y\r\n" * 5000, "no HTTP", (95, 121)),
        (b"SSH-2.0-x\r\n\r\n", "no HTTP", (191, 241)),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20 + CREATED, "no HTTP", (383, 481)),
    ]
    async with world.holder():
        for count, (said, reason, pause) in enumerate(told, 1):
            world.service.answers.append(said)
            await world.fails(number, count, reason, pause)
    assert f'push_sent_total{{result="failed"}} {len(told)}.0' in world.metrics.exposition().decode()
    world.service.answers.append(SILENT)
    async with world.holder(timeout=0.5):
        await world.fails(number, len(told) + 1, "no answer within 0.5 s", (767, 961))
    world.service.answers.clear()
    async with world.holder():
        await world.storage._database.execute("UPDATE push_subscription SET due = now()")
        world.tell()
        row = await world.until(number, lambda row: row["failures"] == 0)
        assert (row["pushed_modseq"], row["problem"]) == (modseq, None)


async def test_only_so_many_pushes_run_at_once(world: World) -> None:
    numbers = [await world.verified() for _ in range(6)]
    modseq = await world.change()
    async with world.holder(connections=2):
        for number in numbers:
            await world.until(number, lambda row: row["pushed_modseq"] == modseq)
    assert len(world.service.pushes) == 6
    assert world.service.most_open <= 2


async def test_the_next_holder_goes_on_and_a_late_one_writes_nothing(world: World) -> None:
    """The first holder is paused when the push service has taken its push and not answered yet."""
    number = await world.verified()
    modseq = await world.change()
    world.service.answers.append(SILENT)
    late = await world.lease()
    paused = world.keep(late)
    await world.service.count(1)
    async with world.holder() as lease:
        row = await world.until(number, lambda row: row["pushed_modseq"] == modseq)
        assert row["epoch"] == lease.epoch == late.epoch + 1
        assert len(world.service.pushes) == 2, "it was not written, so it is repeated"
        for silent in list(world.service._tasks):
            silent.cancel()  # hangs up on the first holder, which goes on
        with pytest.raises(ExceptionGroup) as ended:
            await paused
        assert ended.group_contains(LeaseLost)
        row = await world.row(number)
        assert (row["epoch"], row["failures"]) == (lease.epoch, 0)


async def test_two_holders_share_the_accounts(world: World, account: Callable[..., Awaitable[AccountRecord]]) -> None:
    bob = await account("bob@example.org", "secret")
    accounts = [world.account, bob.id]
    world.account = bob.id
    await world.verified()
    await world.change()
    world.account = accounts[0]
    await world.verified()
    await world.change()
    shares = [Share(part, 2) for part in range(2)]
    assert {account % 2 for account in accounts} == {0, 1}
    first = await world.lease("/0")
    work = world.keep(first, shares[accounts[0] % 2])
    await world.service.count(1)
    first.end()
    await work
    assert [list(push.message(DEVICE)["changed"]) for push in world.service.pushes] == [[f"a{accounts[0]}"]]
    second = await world.lease("/1")
    work = world.keep(second, shares[accounts[1] % 2])
    await world.service.count(2)
    second.end()
    await work
    assert [list(push.message(DEVICE)["changed"]) for push in world.service.pushes][1:] == [[f"a{accounts[1]}"]]


async def test_names_that_lead_inside_are_not_connected_to(world: World, service: PushService) -> None:
    records = {
        "inside.example.net": {"A": ["127.0.0.1"], "AAAA": ["::1"]},
        "nowhere.example.net": {"A": ["192.0.2.1"]},
    }
    port = service.url.rpartition(":")[2]
    async with DnsServer(records) as dns:  # type: ignore[arg-type]
        resolver = DnsResolver([("127.0.0.1", dns.port)], timeout=30.0)
        strict = PushClient(world.settings(networks=()), resolver)
        sign = signer(await world.storage.push.vapid_key(), CONTACT)
        for host, problem in (("inside", NotPermitted), ("nowhere", NotPermitted), ("missing", Unavailable)):
            url = push_url(f"https://{host}.example.net:{port}/x")
            with pytest.raises(problem):
                await strict.post(push_request(due(), url, sign, 60, 0))
        # Where inside is allowed, the certificate still has to be of the name.
        with pytest.raises(Unavailable, match="TLS"):
            url = push_url(f"https://inside.example.net:{port}/x")
            await PushClient(world.settings(), resolver).post(push_request(due(), url, sign, 60, 0))
        with pytest.raises(Unavailable, match="ca cannot be read"):
            await PushClient(world.settings(ca=Path("/no/file.pem")), resolver).post(
                push_request(due(), url, sign, 60, 0)
            )
    assert service.pushes == []


def due(**more: Any) -> DuePush:
    given = {"account": AccountId(1), "id": 7, "url": "https://push.example.net/x", "keys": None, "code": "code"}
    return DuePush(
        **{**given, "verified": True, "modseq": Modseq(9), "kinds": (ChangeKind.EMAIL,), "failures": 0, **more}
    )


def test_answers_and_what_follows() -> None:
    assert judged(due(), PushAnswer(202)).modseq == 9
    assert judged(due(verified=False), PushAnswer(201)).greeted
    assert judged(due(verified=False), PushAnswer(201)).modseq == 0
    assert failed(due(failures=50), "x").pause <= LONGEST_PAUSE
    assert judged(due(), PushAnswer(429, 10.0**9)).pause == 86_400
    assert not failed(due(verified=False, failures=MOST_GREETINGS - 2), "x").gone
    assert failed(due(verified=False, failures=MOST_GREETINGS - 1), "x").gone
    assert not failed(due(failures=1000), "x").gone


def octets(text: str) -> bytes:
    return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))


def test_the_example_of_rfc_8291() -> None:
    key = ec.derive_private_key(
        int.from_bytes(octets("yfWPiYE-n46HLnH0KqZOF1fJJU3MYrct3AELtAQ-oRw"), "big"), ec.SECP256R1()
    )
    public = "BCVxsr7N_eNgVRqvHtD0zTZsEc6-VV-JvLexhqUzORcxaOzi6-AYWXvTBHm4bjyPjs7Vd8pZGH6SRpkNtoIAiw4"
    body = encrypted(
        b"When I grow up, I want to be a watermelon",
        octets(public),
        octets("BTBZMqHH6r4Tts7J_aSIgg"),
        key=key,
        salt=octets("DGv6ra1nlYgDCS1FRnbzlw"),
    )
    assert body == octets(
        "DGv6ra1nlYgDCS1FRnbzlwAAEABBBP4z9KsN6nGRTbVYI_c7VJSPQTBtkgcy27mlmlMoZIIgDll6e3vCYLocInmYWAmS6TlzAC8wEqKK6PBru3jl"
        "7A_yl95bQpu6cVPTpK4Mqgkf1CXztLVBSt2Ks3oZwbuwXPXLWyouBWLVWGNWQexSgSxsj_Qulcy4a-fN"
    )


def test_a_push_is_at_most_one_record_and_differs_each_time() -> None:
    longest = encrypted(b"x" * MAX_PLAIN, DEVICE.public, DEVICE.auth)
    assert len(longest) == 4096
    assert DEVICE.opened(longest) == b"x" * MAX_PLAIN
    assert encrypted(b"x", DEVICE.public, DEVICE.auth) != encrypted(b"x", DEVICE.public, DEVICE.auth)
    with pytest.raises(ValueError, match="at most"):
        encrypted(b"x" * (MAX_PLAIN + 1), DEVICE.public, DEVICE.auth)
    with pytest.raises(ValueError, match="Invalid EC key"):
        encrypted(b"x", b"\x04" + b"p" * 64, DEVICE.auth)
