"""Why a recipient is still here: the answer as a function of facts, and the facts as the database has them."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import pytest_asyncio

from posthorn_model.errors import NotFound
from posthorn_model.ids import QueueMessageId
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, Outcome, RecipientState
from posthorn_storage import Storage
from posthorn_storage.queue import (
    Ask,
    Pause,
    QueuedMessage,
    QueuedRecipient,
    QueueEvent,
    SendingTerms,
    SiteTerms,
    Suppression,
)
from posthorn_storage.queue.shares import Share
from posthorn_storage.queue.views import explanation_view
from posthorn_storage.queue.why import Facts, ShardOwner, explained

NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
HOUR = timedelta(hours=1)
RECIPIENT = QueuedRecipient(
    id=5, address="bob@example.net", site="example.net", shard=3, state=RecipientState.WAITING, attempt=0,
    due=NOW - HOUR, since=None, doubts=0, status="", reply="",
)  # fmt: skip
DEFERRED = QueueEvent(
    NOW - HOUR, "deferred", 5, 2, 7, "4.2.2", "452 4.2.2 full", "mx.example.net [192.0.2.1]:25", None, "mailbox-full"
)
OWNER = ShardOwner("boot1", 7, live=True, node=4, hostname="out4")
POSTPONED = QueueEvent(
    NOW, "postponed", 5, 2, 7, "4.4.5", "451 4.4.5 The destination is left alone for a while; last: 421 busy", "", None
)
TERMS = SendingTerms(
    (120.0,), 432_000.0, 10, 100, sites={"*.net": SiteTerms(4, "100/1m"), "smart": SiteTerms(8)}, routes={}
)
SHARES = (Share("smart", "b1", 7, 9, 3, "out3"), Share("smart", "b2", 1, 1))
ENTRY = Suppression("bob@example.net", "example.org", "bounce", "550 no such user", NOW - HOUR, None)
PAUSE = Pause(9, "site", "example.net", "they asked", NOW - HOUR, None, lifted=False)


def facts(recipient: QueuedRecipient = RECIPIENT, **changes: object) -> Facts:
    message = QueuedMessage(QueueMessageId(4711), "ann@example.org", None, 10, NOW - HOUR, None, (recipient,))
    terms = SendingTerms((120.0,), 432_000.0, 10, 100)
    known = Facts(NOW, message, recipient, (), OWNER, 2, (), terms, 10.0)
    return replace(known, **changes)  # type: ignore[arg-type]


def told(known: Facts) -> str:
    answer = explained(known)
    return " | ".join([*answer.because, "->", *answer.next])


@pytest.mark.parametrize(
    ("known", "words"),
    [
        (facts(), ["not been tried yet", "due since 2026-01-02 11:00:00+00:00 (3,600 s)", "at most 10 connections",
                   "Shard 3 is worked on by node 4 on out4 (boot1, epoch 7)", "tried until 2026-01-07 11:00:00"]),
        (facts(terms=None), ["It waits for its turn."]),
        (facts(terms=TERMS), ["at most 4 connections to example.net are open at once, for 100/1m messages."]),
        (facts(terms=replace(TERMS, relay="smart"), shares=SHARES),
         ["at most 8 connections to smart are open at once; they are shared out: 7 by node 3 on out3, 1 by a process"]),
        (facts(terms=replace(TERMS, routes={"*.net": "local"})), ["It waits for its turn."]),
        (facts(replace(RECIPIENT, site="local"), terms=TERMS), ["It waits for its turn."]),
        (facts(terms=replace(TERMS, routes={"*.net": "smart"}), pauses=(replace(PAUSE, scope="route", name="smart"),)),
         ["The route smart is paused", "Nothing, until `posthorn queue resume --route smart`."]),
        (facts(replace(RECIPIENT, due=NOW + HOUR), events=(DEFERRED, POSTPONED)),
         ["Attempt 2 at 2026-01-02 11:00:00+00:00 was put off [mailbox-full]",
          "put off without an attempt at 2026-01-02 12:00:00+00:00: 451 4.4.5 The destination is left alone",
          "last: 421 busy", "The next attempt is at 2026-01-02 13:00:00"]),
        (facts(events=(POSTPONED, replace(DEFERRED, at=NOW)), terms=TERMS), ["Attempt 2 at 2026-01-02 12:00:00"]),
        (facts(terms=replace(TERMS, suppression="enforce"), suppression=ENTRY),
         ["suppressed for mail of example.org since 2026-01-02 11:00:00+00:00 (550 no such user)",
          "at the next attempt it fails at once."]),
        (facts(terms=replace(TERMS, suppression="observe"), suppression=replace(ENTRY, scope="")),
         ["suppressed for everybody's mail", "that is only observed."]),
        (facts(replace(RECIPIENT, attempt=2, due=NOW + HOUR), events=(DEFERRED,)),
         ["Attempt 2 at 2026-01-02 11:00:00+00:00 was put off [mailbox-full]: 452 4.2.2 full (mx.example.net",
          "next attempt is at 2026-01-02 13:00:00+00:00"]),
        (facts(replace(RECIPIENT, due=NOW + HOUR)), ["queued for a later time", "next attempt is at"]),
        (facts(owner=replace(OWNER, live=False)), ["Nobody owns shard 3 at the moment"]),
        (facts(owner=None, workers=0), ["No smtp-out is running"]),
        (facts(pauses=(PAUSE,)), ["The site example.net is paused since", "they asked",
                                  "Nothing, until `posthorn queue resume example.net`."]),
        (facts(pauses=(replace(PAUSE, scope="everything", name="", until=NOW + HOUR),)),
         ["Everything is paused", "Nothing, until 2026-01-02 13:00:00+00:00 or `posthorn queue resume --all`."]),
        (facts(pauses=(replace(PAUSE, scope="route", name="relay:25"),)), ["paused are relay:25", "for its turn"]),
        (facts(replace(RECIPIENT, parked=9), pauses=(PAUSE,)), ["The site example.net is paused"]),
        (facts(replace(RECIPIENT, parked=9)), ["has ended", "let go"]),
        (facts(replace(RECIPIENT, parked=0), events=(QueueEvent(NOW, "held", 5, 0, 0, "", "by legal", "", None),)),
         ["An operator holds it since 2026-01-02 12:00:00+00:00 (by legal).", "`posthorn queue release 4711`"]),
        (facts(replace(RECIPIENT, state=RecipientState.IN_FLIGHT, attempt=1, since=NOW, epoch=7)),
         ["Attempt 1 is under way since", "What the remote answers decides."]),
        (facts(replace(RECIPIENT, state=RecipientState.IN_FLIGHT, attempt=1, since=NOW, epoch=6)),
         ["under epoch 6", "the remote may have the message", "marked as in doubt"]),
        (facts(replace(RECIPIENT, state=RecipientState.IN_FLIGHT, since=NOW, epoch=7), owner=None, workers=0),
         ["the remote may have the message", "No smtp-out is running"]),
        (facts(replace(RECIPIENT, state=RecipientState.DELIVERED),
               events=(replace(DEFERRED, kind="delivered", reply="250 ok"),)),
         ["delivered: 250 ok", "Nothing: it is over"]),
        (facts(replace(RECIPIENT, state=RecipientState.CANCELLED)), ["It was cancelled."]),
        (facts(message=QueuedMessage(QueueMessageId(1), "", None, 1, NOW - 200 * HOUR, None, (RECIPIENT,))),
         ["Its time was over", "it is dropped"]),
    ],
    ids=lambda value: value[0][:30] if isinstance(value, list) else "",
)  # fmt: skip
def test_each_state_has_its_answer(known: Facts, words: list[str]) -> None:
    found = told(known)
    assert [word for word in words if word not in found] == []


def test_the_answer_has_times_too() -> None:
    answer = explained(facts(replace(RECIPIENT, due=NOW + HOUR), events=(DEFERRED,)))
    assert (answer.next_attempt, answer.last_class, answer.last_reply) == (NOW + HOUR, "mailbox-full", "452 4.2.2 full")
    assert answer.expires_at == NOW - HOUR + timedelta(days=5)
    assert explained(facts(pauses=(PAUSE,))).next_attempt is None
    assert explained(facts()).next_attempt == NOW
    assert explained(facts(replace(RECIPIENT, state=RecipientState.FAILED))).expires_at is None


@pytest_asyncio.fixture
async def no_pauses_left(storage: Storage) -> AsyncIterator[None]:
    yield
    for table in ("queue_pause", "queue_share", "queue_suppression"):
        await storage._database.execute(f"DELETE FROM {table}")


@pytest.mark.postgres
async def test_the_facts_are_those_of_the_database(storage: Storage, no_pauses_left: None) -> None:
    shard = storage.queue.shard_of("example.net")
    blob = await storage.blobs.prepare(b"Subject: hello\r\n\r\nhello\r\n")
    recipients = [NewRecipient(f"{name}@example.net", "example.net") for name in ("a", "b")]
    message = await storage.queue.enqueue(NewQueueMessage("ann@example.org", blob, recipients))
    first, _ = await storage.queue.why(message)
    assert (first.owner, first.expires_at) == (None, None)
    assert "No smtp-out is running: nothing is sent at all." in first.next
    epoch = (await storage.leases.acquire([f"queue/{shard}"], "boot9", 3600))[f"queue/{shard}"]
    sites = {"hub": SiteTerms(6, "10/1s")}
    terms = SendingTerms((60.0,), 3600.0, 7, 5, sites=sites, routes={"example.net": "hub"}, suppression="enforce")
    await storage.queue.tell_terms(terms)
    await storage.queue.shares.ask("boot9", [Ask("hub", 6, 2, 0)], 60.0)
    await storage.queue.suppressions.put({"b@example.net": "it said so"}, "", "operator")
    _, suppressed = await storage.queue.why(message)
    assert any("suppressed for everybody's mail" in each and "it said so" in each for each in suppressed.because)
    turn = "at most 6 connections to hub are open at once, for 10/1s messages; they are shared out: 2 by a process."
    assert any(turn in each for each in suppressed.next), suppressed.next
    due, _ = await storage.queue.claim(shard, epoch, 10)
    await storage.queue.start_attempts([due.id], shard, epoch)
    later = datetime.now(UTC) + timedelta(minutes=5)
    put_off = Outcome(due.id, epoch, RecipientState.WAITING, "451 later", "4.0.0", "mx", later, reply_class="system")
    await storage.queue.finish([put_off], shard)
    await storage.queue.pauses.put("everything", "", "the fire brigade is here")
    first, second = (explanation_view(each) for each in await storage.queue.why(message))
    assert first["owner"] == {"node": None, "boot": "boot9", "epoch": epoch, "live": True}
    assert (first["class"], first["last_reply"], second["class"]) == ("system", "451 later", None)
    assert "the fire brigade is here" in first["why"][1]
    created = datetime.fromisoformat(first["expires"]) - timedelta(hours=1)
    assert created == (await storage.queue.show(message)).created_at
    with pytest.raises(NotFound):
        await storage.queue.why(QueueMessageId(message + 1000))
    await storage._database.execute("UPDATE cluster_setting SET value = '{}' WHERE name = 'queue_terms'")
    assert (await storage.queue.why(message))[0].expires_at is None, "words of another version"
    await storage._database.execute("DELETE FROM cluster_setting WHERE name = 'queue_terms'")
