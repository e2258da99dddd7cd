"""Flow C over the real database and real servers: sent, deferred, failed, in doubt, fenced, handed over."""

import asyncio
import io
from collections.abc import Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import structlog

from posthorn_bus import LeaseKeeper, LeaseTimes
from posthorn_model.clock import SystemClock
from posthorn_model.ids import QueueMessageId
from posthorn_model.mail import Role
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState, Terms
from posthorn_node.settings import ResolverSettings
from posthorn_smtp_out.resolver import Resolver
from posthorn_smtp_out.routes import Router
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.dkim import NewDkimKey, made
from posthorn_storage.mail.messages import MessageFields
from posthorn_testkit.dns import DnsServer
from posthorn_testkit.sink import DROP, END, Sink

pytestmark = pytest.mark.postgres
LOG = structlog.wrap_logger(structlog.WriteLogger(io.StringIO()))

CONTENT = b"Return-Path: <ann@example.org>\r\nMessage-ID: <q1@example.org>\r\nSubject: out\r\n\r\n.text\r\n"
SENT = CONTENT.partition(b"\r\n")[2]


Start = Callable[..., Awaitable[Any]]


async def enqueue(
    storage: Storage, *addresses: str, sender: str = "ann@example.org", content: bytes = CONTENT, **more: Any
) -> QueueMessageId:
    blob = await storage.blobs.prepare(content)
    notify = more.pop("notify", None)
    recipients = [NewRecipient(address, address.rpartition("@")[2], notify) for address in addresses]
    return await storage.queue.enqueue(NewQueueMessage(sender, blob, recipients, **more))


async def states(storage: Storage, message: QueueMessageId) -> dict[str, RecipientState]:
    return {each.address: each.state for each in (await storage.queue.show(message)).recipients}


async def until_states(storage: Storage, message: QueueMessageId, *wanted: RecipientState) -> None:
    async with asyncio.timeout(90):
        while tuple((await states(storage, message)).values()) != wanted:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.01)


async def until_event(storage: Storage, message: QueueMessageId, kind: str) -> Any:
    async with asyncio.timeout(90):
        while True:
            for event in await storage.queue.time_line(message):
                if event.kind == kind:
                    return event
            await asyncio.sleep(0.01)


async def inbox(storage: Storage, account: AccountRecord, least: int = 0) -> list[bytes]:
    """The messages of the inbox, once there are at least so many: on another database they come a moment later."""
    box = next(box for box in await storage.mail.mailboxes(account.id) if box.role is Role.INBOX)
    async with asyncio.timeout(90):
        while len(ids := [entry.message for entry in await storage.mail.entries(account.id, box.id)]) < least:  # noqa: ASYNC110  the database tells nobody
            await asyncio.sleep(0.01)
    return [
        await storage.blobs.read(account.id, each.blob)
        for each in await storage.mail.messages(account.id, ids, MessageFields.NONE)
    ]


WAITING, DELIVERED, FAILED = RecipientState.WAITING, RecipientState.DELIVERED, RecipientState.FAILED


async def test_what_is_queued_is_sent_and_its_time_line_written(storage: Storage, sink: Sink, start: Start) -> None:
    await start()
    message = await enqueue(storage, "bob@example.net", "eve@example.com")
    await until_states(storage, message, DELIVERED, DELIVERED)
    mails = await sink.wait(2)
    assert {mail.recipients for mail in mails} == {("bob@example.net",), ("eve@example.com",)}
    assert all(mail.content == SENT and mail.sender == "ann@example.org" for mail in mails)
    event = await until_event(storage, message, "delivered")
    assert (event.status, event.attempt) == ("2.0.0", 1)
    assert sink.address.partition(":")[0] in event.remote


async def test_recipients_of_one_site_share_a_transaction(storage: Storage, sink: Sink, start: Start) -> None:
    message = await enqueue(storage, *(f"u{number}@example.net" for number in range(5)))
    await start(recipients_per_transaction=3)
    await until_states(storage, message, *[DELIVERED] * 5)
    assert sorted(len(mail.recipients) for mail in sink.mails) == [2, 3]


async def test_a_temporary_refusal_waits_and_goes_again(storage: Storage, sink: Sink, start: Start) -> None:
    sink.once("RCPT", "451 4.2.1 later")
    await start(retry=(0.05,))
    message = await enqueue(storage, "bob@example.net")
    await until_states(storage, message, DELIVERED)
    events = sorted(await storage.queue.time_line(message), key=lambda event: event.at)
    assert [event.kind for event in events if event.attempt and event.reply] == ["deferred", "delivered"]
    assert [event.attempt for event in events if event.reply] == [1, 2]


async def test_the_schedule_decides_when(storage: Storage, sink: Sink, start: Start) -> None:
    sink.always(END, "451 4.3.0 never")
    await start(retry=(3600.0,))
    message = await enqueue(storage, "bob@example.net")
    await until_event(storage, message, "deferred")
    (recipient,) = (await storage.queue.show(message)).recipients
    assert recipient.state is WAITING
    left = recipient.due - datetime.now(UTC)
    assert timedelta(minutes=59) < left <= timedelta(hours=1)


async def test_a_failure_is_reported_to_a_local_sender_once(
    storage: Storage, sink: Sink, start: Start, account: Any
) -> None:
    ann = await account("ann@example.org")
    sink.always("RCPT", "550 5.1.1 no such user")
    await start()
    message = await enqueue(storage, "bob@example.net", envid="QQ314", ret="FULL")
    await until_states(storage, message, FAILED)
    (report,) = await inbox(storage, ann, 1)
    text = report.decode()
    assert text.startswith("Return-Path: <>\r\n")
    assert "Content-Type: multipart/report; report-type=delivery-status;" in text
    assert "Original-Envelope-Id: QQ314" in text
    assert "Final-Recipient: rfc822;bob@example.net\r\nAction: failed\r\nStatus: 5.1.1\r\n" in text
    assert "Diagnostic-Code: smtp;550 5.1.1 no such user" in text
    assert SENT.decode() in text


async def test_a_failure_is_reported_to_a_sender_elsewhere_and_a_report_never(
    storage: Storage, sink: Sink, start: Start
) -> None:
    sink.once("RCPT", "550 5.1.1 no such user")
    await start()
    message = await enqueue(storage, "bob@example.net", sender="list@example.com")
    (report,) = await sink.wait(1)
    assert (report.sender, report.recipients) == ("", ("list@example.com",))
    assert report.rcpts == ("RCPT TO:<list@example.com> NOTIFY=NEVER",)
    sink.always("RCPT", "550 5.1.1 no such user")
    bounce = await enqueue(storage, "bob@example.net", sender="")
    await until_states(storage, bounce, FAILED)
    await until_states(storage, message, FAILED)
    assert sum((await storage.queue.depth()).values()) == 3


@pytest.mark.parametrize(("notify", "reports"), [("NEVER", 0), ("SUCCESS", 1), (None, 0)])
async def test_success_is_reported_when_asked_and_the_remote_cannot(
    storage: Storage, start: Start, sink: Sink, account: Any, notify: str | None, reports: int
) -> None:
    ann = await account("ann@example.org")
    sink.extensions.remove("DSN")
    await start()
    message = await enqueue(storage, "bob@example.net", notify=notify)
    await until_states(storage, message, DELIVERED)
    found = await inbox(storage, ann, reports)
    assert len(found) == reports
    assert all(b"Action: relayed" in report for report in found)


async def test_an_old_message_expires(storage: Storage, sink: Sink, start: Start, account: Any) -> None:
    ann = await account("ann@example.org")
    sink.always("MAIL", "451 4.3.0 never")
    await start(retry=(0.01,), expire=0.1)
    message = await enqueue(storage, "bob@example.net")
    await until_states(storage, message, FAILED)
    assert b"Status: 5.4.7" in (await inbox(storage, ann, 1))[0]


async def test_mail_for_the_cluster_itself_goes_to_mailboxes(
    storage: Storage, sink: Sink, start: Start, account: Any
) -> None:
    ann = await account("ann@example.org")
    await start()
    message = await enqueue(storage, "ann@example.org", "nobody@example.org", sender="eve@example.net")
    await until_states(storage, message, DELIVERED, FAILED)
    assert await inbox(storage, ann) == [b"Return-Path: <eve@example.net>\r\n" + SENT]


async def test_the_intent_is_on_record_before_the_final_dot(storage: Storage, sink: Sink, start: Start) -> None:
    gate = sink.hold(END)
    await start()
    message = await enqueue(storage, "bob@example.net")
    await gate.reached.wait()
    assert await states(storage, message) == {"bob@example.net": RecipientState.IN_FLIGHT}
    gate.open.set()
    await until_states(storage, message, DELIVERED)


async def test_what_a_dead_owner_had_in_flight_is_sent_again_and_marked(
    storage: Storage, sink: Sink, start: Start
) -> None:
    gate = sink.hold(END)
    first = await start()
    storage.queue._doubt_seconds = 0.1
    message = await enqueue(storage, "bob@example.net")
    await gate.reached.wait()
    await first.die()
    await start(owner="second")
    await until_states(storage, message, DELIVERED)
    events = sorted(await storage.queue.time_line(message), key=lambda event: event.at)
    assert [event.kind for event in events if event.kind in ("in-doubt", "delivered")] == ["in-doubt", "delivered"]
    assert "in doubt" in next(event.reply for event in events if event.kind == "delivered")
    assert sink.mails[-1].content == SENT


async def test_a_lost_reply_is_tried_again(storage: Storage, sink: Sink, start: Start) -> None:
    sink.once(END, DROP)
    await start(retry=(0.05,))
    message = await enqueue(storage, "bob@example.net")
    await until_states(storage, message, DELIVERED)
    assert [mail.acknowledged for mail in sink.mails] == [False, True]
    assert sink.mails[0].content == sink.mails[1].content


async def test_a_clean_hand_over_finishes_what_is_under_way(storage: Storage, sink: Sink, start: Start) -> None:
    gate = sink.hold(END)
    first = await start()
    message = await enqueue(storage, "bob@example.net")
    await gate.reached.wait()
    leaving = asyncio.create_task(first.leave())
    later = await enqueue(storage, "eve@example.net")
    await asyncio.sleep(0)
    assert not leaving.done()
    gate.open.set()
    await asyncio.wait_for(leaving, 90)
    await until_states(storage, message, DELIVERED)
    await start(owner="second")
    await until_states(storage, later, DELIVERED)
    assert len(sink.mails) == 2


async def test_at_a_hand_over_replies_are_waited_for_and_the_rest_is_left_to_the_next(
    storage: Storage, sink: Sink, start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One has been sent whole, one is in its envelope for too long, one waits for a connection."""
    monkeypatch.setattr("posthorn_smtp_out.shard.LAST_SECONDS", 0.05)
    first = await start(connections_per_site=2)
    messages, gates = [], []
    for name, step in (("bob", END), ("eve", "MAIL")):
        gates.append(sink.hold(step))
        messages.append(await enqueue(storage, f"{name}@example.net"))
        await asyncio.wait_for(gates[-1].reached.wait(), 90)
    messages.append(await enqueue(storage, "fay@example.net"))
    first.shards.wake()
    worker = first.shards._workers[(await storage.queue.show(messages[0])).recipients[0].shard]
    async with asyncio.timeout(90):
        while len(worker._tasks) < 3:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)
        leaving = asyncio.create_task(first.leave())
        while len(worker._tasks) > 1:  # noqa: ASYNC110  nobody tells
            await asyncio.sleep(0.01)
    assert not leaving.done()
    gates[0].open.set()
    await asyncio.wait_for(leaving, 90)
    assert [await states(storage, message) for message in messages] == [
        {"bob@example.net": DELIVERED},
        {"eve@example.net": WAITING},
        {"fay@example.net": WAITING},
    ]
    gates[1].open.set()
    await start(owner="second")
    for message in messages:
        await until_states(storage, message, DELIVERED)
        assert [event.kind for event in await storage.queue.time_line(message)].count("in-doubt") == 0
    assert len(sink.mails) == 3


async def test_a_paused_owner_changes_nothing_when_it_wakes(storage: Storage, sink: Sink, start: Start) -> None:
    gate = sink.hold(END)
    first = await start()
    message = await enqueue(storage, "bob@example.net")
    await gate.reached.wait()
    # Its leases pass to another owner while it waits for the remote, as after a long pause of the process.
    keys = list(first.keeper._held.values())
    first.keeper._renewal.cancel()  # it learns of that by what it writes
    for lease in keys:
        lease.deadline += 3600.0
    await storage.leases.release({lease.key: lease.epoch for lease in keys}, "first")
    other = LeaseKeeper(storage.leases, "second", SystemClock(), LeaseTimes(ttl=30.0))
    assert len(await other.acquire([lease.key for lease in keys])) == len(keys)
    gate.open.set()
    await first.shards.drain()
    assert await states(storage, message) == {"bob@example.net": RecipientState.IN_FLIGHT}
    assert first.figures.fenced._value.get() == 1
    await other.stop()


async def test_mail_finds_its_way_by_dns(storage: Storage, sink: Sink, start: Start) -> None:
    records = {
        "example.net": {"MX": ["10 dead.example.net.", "20 mx.example.net."]},
        "mx.example.net": {"A": ["127.0.0.1"]},
    }
    async with DnsServer({**records, "null.example": {"MX": ["0 ."]}}) as dns:
        resolver = Resolver(ResolverSettings(servers=(dns.address,), timeout=60.0))
        router = Router(resolver, hostname="out.example.org", port=sink.port, relay=None, routes={})
        await start(router)
        message = await enqueue(storage, "bob@example.net", "eve@null.example", "x@nowhere.example", sender="")
        await until_states(storage, message, DELIVERED, FAILED, FAILED)
    statuses = [each.status for each in (await storage.queue.show(message)).recipients]
    assert statuses == ["2.0.0", "5.1.10", "5.1.2"]


async def test_many_messages_share_few_connections(storage: Storage, sink: Sink, start: Start) -> None:
    messages: Sequence[QueueMessageId] = [await enqueue(storage, f"u{number}@example.net") for number in range(40)]
    await start()
    await sink.wait(40)
    for message in messages:
        await until_states(storage, message, DELIVERED)
    assert sink.most_connections <= 5
    assert len({mail.recipients for mail in sink.mails}) == len(sink.mails) == 40


async def test_what_the_domain_vouches_for_is_signed_once_for_all_sites(
    storage: Storage, sink: Sink, start: Start
) -> None:
    storage.dkim.keys = KeyRing(["the secret of all nodes"])
    await storage.dkim.add(NewDkimKey("example.org", made("ed25519"), active=True))
    await start()
    content = b"Return-Path: <>\r\nFrom: ann@example.org\r\n\r\n.text"
    signed = await enqueue(storage, "bob@example.net", "eve@example.com", content=content, signing_domain="example.org")
    await until_states(storage, signed, DELIVERED, DELIVERED)
    first, second = [mail.content for mail in await sink.wait(2)]
    assert first == second
    assert first.startswith(b"DKIM-Signature: v=1; a=ed25519-sha256;")
    assert first.endswith(b"\r\nFrom: ann@example.org\r\n\r\n.text\r\n")
    passed_on = await enqueue(storage, "bob@example.net", content=content)
    await until_states(storage, passed_on, DELIVERED)
    assert (await sink.wait(3))[2].content == b"From: ann@example.org\r\n\r\n.text\r\n"


async def test_what_is_asked_of_a_message_is_kept_or_it_comes_back(
    storage: Storage, sink: Sink, start: Start, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann = await account("ann@example.org")
    now = datetime.now(UTC)
    asked = {
        "late": Terms(deliver_by=now - timedelta(seconds=1)),
        "no-promise": Terms(deliver_by=now + timedelta(hours=1)),
        "plain": Terms(require_tls=True),
        "told": Terms(deliver_by=now + timedelta(hours=1), by_return=False),
    }
    messages = {
        name: await enqueue(storage, f"{name}@example.net", terms=terms, ret="FULL") for name, terms in asked.items()
    }
    held = await enqueue(storage, "held@example.net", hold_until=now + timedelta(hours=1))
    await start()
    await until_states(storage, messages["told"], DELIVERED)
    for name, status in (("late", "5.4.7"), ("no-promise", "5.4.7"), ("plain", "5.7.30")):
        await until_states(storage, messages[name], FAILED)
        assert (await storage.queue.show(messages[name])).recipients[0].status == status
    assert [mail.recipients for mail in sink.mails] == [("told@example.net",)]
    assert await states(storage, held) == {"held@example.net": WAITING}
    bounces = await inbox(storage, ann, least=3)
    (secret,) = [bounce for bounce in bounces if b"plain@example.net" in bounce]
    assert b".text" not in secret  # RFC 8689 5: the header section alone
    (late,) = [bounce for bounce in bounces if b"late@example.net" in bounce]
    assert b".text" in late


async def test_a_sender_hears_of_a_delay_and_its_time_line_says_why(
    storage: Storage, sink: Sink, start: Start, account: Any
) -> None:
    """Told after an hour and a day, again only at the second; not of what is no longer waiting."""
    ann = await account("ann@example.org")
    sink.always("RCPT", "452 4.2.2 mailbox full")
    message = await enqueue(storage, "bob@example.net", sender=ann.address)
    await storage._database.execute("UPDATE queue_message SET created_at = now() - interval '2 hours'")
    worker = await start(retry=(0.02,), delay_notices=(3600.0, 86_400.0))
    (notice,) = await inbox(storage, ann, 1)
    assert b"Action: delayed" in notice
    assert b"Will-Retry-Until: " in notice
    (recipient,) = (await storage.queue.show(message)).recipients
    attempts = recipient.attempt

    async def tried(more: int) -> None:
        async with asyncio.timeout(90):
            while (await storage.queue.show(message)).recipients[0].attempt < attempts + more:  # noqa: ASYNC110
                await asyncio.sleep(0.01)

    await tried(3)
    assert len(await inbox(storage, ann)) == 1
    await storage._database.execute("UPDATE queue_message SET created_at = now() - interval '2 days'")
    assert len(await inbox(storage, ann, 2)) == 2
    await worker.leave()
    event = await until_event(storage, message, "deferred")
    assert (event.reply_class, event.owner) == ("mailbox-full", "first")


async def test_a_bounce_that_bounces_is_dropped(storage: Storage, sink: Sink, start: Start) -> None:
    sink.always("RCPT", "550 5.1.1 no such user")
    worker = await start()
    message = await enqueue(storage, "bob@example.net", sender="")
    await until_states(storage, message, FAILED)
    assert len(await storage.queue.messages()) == 0
    shown = worker.metrics.exposition().decode()
    assert "posthorn_smtp_out_double_bounces_total 1.0" in shown
    assert 'posthorn_smtp_out_refusals_total{outcome="failed",class="unknown-user"} 1.0' in shown.replace(
        'class="unknown-user",outcome="failed"', 'outcome="failed",class="unknown-user"'
    )


async def test_who_wants_to_hear_of_a_delay_hears_of_it_once(
    storage: Storage, sink: Sink, start: Start, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann = await account("ann@example.org")
    sink.always("RCPT", "451 4.2.1 later")
    by = datetime.now(UTC) + timedelta(seconds=0.3)
    message = await enqueue(storage, "bob@example.net", terms=Terms(deliver_by=by, by_return=False))
    await start(retry=(0.2,))
    (told,) = await inbox(storage, ann, least=1)
    assert b"Action: delayed" in told
    async with asyncio.timeout(90):
        while (await storage.queue.show(message)).recipients[0].attempt < 6:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.01)
    assert len(await inbox(storage, ann)) == 1


async def test_a_list_passes_on_in_its_own_name_and_once(
    storage: Storage, sink: Sink, start: Start, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann, bob = await account("ann@example.org"), await account("bob@example.org")
    put = storage.distributions.put
    await put("list", "inner@example.org", ["bob@example.org", "outer@example.org"], owner="ann@example.org")
    members = ["ann@example.org", "fay@example.com", "gus@example.net", "inner@example.org"]
    await put("list", "outer@example.org", members, owner="bob@example.org", name="Outer")
    message = await enqueue(storage, "outer@example.org", sender="eve@example.net")
    await start()
    await until_states(storage, message, DELIVERED)
    mails = await sink.wait(2)
    assert {(mail.sender, mail.recipients) for mail in mails} == {
        ("outer-bounces@example.org", ("fay@example.com",)),
        ("outer-bounces@example.org", ("gus@example.net",)),
    }
    copy, *_ = await inbox(storage, ann, least=1)  # what comes last may be there already
    assert copy.startswith(b"Return-Path: <outer-bounces@example.org>\r\nDelivered-To: outer@example.org\r\n")
    assert b"List-Id: Outer <outer.example.org>\r\n" in copy
    # The list within sends as itself; back at the first it is a loop, of which the owner of the second hears.
    found = await inbox(storage, bob, least=1)
    assert b"List-Id: <inner.example.org>\r\n" in found[0]
    assert found[0].startswith(b"Return-Path: <inner-bounces@example.org>\r\n")
    _, told = await inbox(storage, ann, least=2)
    assert b"5.4.6" in told


async def test_who_may_not_write_to_a_list_has_it_back(
    storage: Storage, sink: Sink, start: Start, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann = await account("ann@example.org")
    await storage.distributions.put(
        "list", "news@example.org", ["fay@example.com"], owner="bob@example.net", posting="members"
    )
    await storage.distributions.put("forward", "ann@example.org", ["ann@example.org", "ann@example.com"])
    message = await enqueue(storage, "news@example.org")
    passed = await enqueue(storage, "ann@example.org", sender="bob@example.net")
    await start()
    await until_states(storage, message, FAILED)
    await until_states(storage, passed, DELIVERED)
    # What ann has back is passed on as well, sooner or later.
    seen = {(mail.sender, mail.recipients) for mail in await sink.wait(2)}
    assert seen == {("bob@example.net", ("ann@example.com",)), ("", ("ann@example.com",))}  # no secret, no rewriting
    assert any(b"5.7.1" in each for each in await inbox(storage, ann, least=2))


async def test_who_has_all_mail_passed_on_has_reports_passed_on(
    storage: Storage, sink: Sink, start: Start, account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    ann = await account("ann@example.org")
    await storage.distributions.put(
        "list", "news@example.org", ["fay@example.com"], owner="fay@example.com", posting="nobody"
    )
    await storage.distributions.put("forward", "ann@example.org", ["ann@example.com"])
    message = await enqueue(storage, "news@example.org")
    await start()
    await until_states(storage, message, FAILED)
    (mail,) = await sink.wait(1)
    assert (mail.sender, mail.recipients) == ("", ("ann@example.com",))
    assert b"5.7.1" in mail.content
    assert await inbox(storage, ann) == []
