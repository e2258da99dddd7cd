"""Subscribers, the intake and the outbox, without any network."""

import gc

import pytest

from posthorn_bus.envelope import Envelope, Lost, decode, encode
from posthorn_bus.fanout import MOST_NODES, QUEUE_LENGTH, Fanout, Intake, Tally
from posthorn_bus.outbox import Outbox
from posthorn_bus.settings import BusIdentity
from posthorn_model.events import Changed, ChangeKind, Control, Gap, QueueDue, Received, Topic
from posthorn_model.ids import AccountId, Modseq, NodeId

ME = BusIdentity(NodeId(1), "imap", "me")


def change(account: int, modseq: int, *kinds: ChangeKind) -> Changed:
    return Changed(AccountId(account), Modseq(modseq), frozenset(kinds))


async def everything(subscription: object) -> list[Received]:
    return [event async for event in subscription]  # type: ignore[attr-defined]


async def test_a_subscriber_hears_its_topics_only_in_order_and_ends_with_the_bus() -> None:
    fanout = Fanout(Tally())
    subscription = fanout.subscribe((Topic.CHANGES, Topic.QUEUE))
    for event in (change(1, 1), Control("x"), QueueDue(3), change(1, 2)):
        fanout.deliver(event)
    fanout.gap(Topic.QUEUE, "lost")
    fanout.gap(Topic.NODES, "lost")
    fanout.close()
    assert await everything(subscription) == [change(1, 1), QueueDue(3), change(1, 2), Gap(Topic.QUEUE, "lost")]
    assert await everything(fanout.subscribe((Topic.CHANGES,))) == []


async def test_a_slow_subscriber_loses_events_and_hears_a_gap_per_topic() -> None:
    fanout = Fanout(Tally())
    slow = fanout.subscribe((Topic.CHANGES, Topic.CONTROL, Topic.QUEUE))
    fanout.deliver(Control("x"))
    for number in range(QUEUE_LENGTH):
        fanout.deliver(change(1, number))
    fanout.deliver(QueueDue(1))
    fanout.close()
    assert await everything(slow) == [
        Gap(Topic.CHANGES, "slow subscriber"),
        Gap(Topic.CONTROL, "slow subscriber"),
        QueueDue(1),
    ]


async def test_a_dropped_subscription_is_forgotten() -> None:
    fanout = Fanout(Tally())
    kept, dropped = fanout.subscribe((Topic.QUEUE,)), fanout.subscribe((Topic.NODES,))
    assert fanout.topics() == {Topic.QUEUE, Topic.NODES}
    del dropped
    gc.collect()
    assert fanout.topics() == kept.topics


async def test_the_intake_passes_others_events_and_counts_what_it_cannot_read() -> None:
    tally = Tally()
    fanout = Fanout(tally)
    heard = fanout.subscribe((Topic.QUEUE,))
    intake = Intake(fanout, "me", tally)
    intake.take(encode(Envelope(QueueDue(1), 1, NodeId(1), "me")))
    intake.take(encode(Envelope(QueueDue(2), 1, NodeId(2), "other")))
    intake.take(encode(Envelope(QueueDue(3), 1, NodeId(2), "other")), sender="other")
    intake.take(encode(Envelope(QueueDue(4), 1, NodeId(2), "other")), sender="somebody else")
    intake.take(b"noise")
    fanout.close()
    assert await everything(heard) == [QueueDue(2), QueueDue(3)]
    assert (tally.received, tally.skipped) == (2, 2)


async def test_changes_of_one_account_are_sent_as_one() -> None:
    outbox = Outbox(ME, Tally())
    for event in (
        change(1, 5, ChangeKind.EMAIL),
        change(2, 9, ChangeKind.EMAIL),
        change(1, 7, ChangeKind.THREAD),
        change(1, 6, ChangeKind.MAILBOX),
        QueueDue(1),
        QueueDue(1),
    ):
        outbox.add(event)
    batch = await outbox.take()
    assert [event for event, _ in batch] == [
        change(1, 7, ChangeKind.EMAIL, ChangeKind.THREAD, ChangeKind.MAILBOX),
        change(2, 9, ChangeKind.EMAIL),
        QueueDue(1),
        QueueDue(1),
    ]
    sent = [decode(data) for _, data in batch]
    assert [envelope.event for envelope in sent] == [event for event, _ in batch]
    assert len({envelope.id for envelope in sent}) == 4
    assert {envelope.boot for envelope in sent} == {"me"}
    assert len(outbox) == 0


async def test_a_full_outbox_drops_the_oldest() -> None:
    tally = Tally()
    outbox = Outbox(ME, tally, capacity=3)
    for shard in range(5):
        outbox.add(QueueDue(shard))
    assert [event for event, _ in await outbox.take()] == [
        Lost(Topic.QUEUE),
        QueueDue(2),
        QueueDue(3),
        QueueDue(4),
    ]
    assert (tally.published, tally.dropped) == (5, 2)


async def test_what_could_not_be_sent_is_told_of_once_per_topic() -> None:
    tally = Tally()
    outbox = Outbox(ME, tally)
    for event in (QueueDue(1), QueueDue(2), change(1, 1)):
        outbox.lose(event)
    assert [event for event, _ in await outbox.take()] == [Lost(Topic.CHANGES), Lost(Topic.QUEUE)]
    assert tally.dropped == 3
    assert outbox.drain() == []


async def test_a_notice_of_lost_events_that_is_lost_is_tried_again_later() -> None:
    tally = Tally()
    outbox = Outbox(ME, tally)
    outbox.lose(Lost(Topic.ROLES))
    assert outbox.drain() == []
    assert [event for event, _ in await outbox.take()] == [Lost(Topic.ROLES)]
    assert tally.dropped == 0


async def test_who_hears_of_lost_events_hears_a_gap() -> None:
    tally = Tally()
    fanout = Fanout(tally)
    heard = fanout.subscribe((Topic.QUEUE, Topic.CHANGES))
    intake = Intake(fanout, "me", tally)
    intake.take(encode(Envelope(Lost(Topic.QUEUE), 1, NodeId(2), "other")))
    intake.take(encode(Envelope(Lost(Topic.CHANGES), 1, NodeId(1), "me")))
    fanout.close()
    assert [type(event) for event in await everything(heard)] == [Gap]
    assert (tally.received, tally.gaps) == (1, 1)


def test_of_many_nodes_those_heard_last_are_remembered() -> None:
    tally = Tally()
    for node in range(MOST_NODES):
        tally.hear(NodeId(node), float(node))
    tally.hear(NodeId(0), 10_000.0)
    tally.hear(NodeId(MOST_NODES), 10_001.0)
    assert len(tally.heard) == MOST_NODES
    assert tally.heard[NodeId(0)] == 10_000.0
    assert NodeId(1) not in tally.heard


@pytest.mark.parametrize("detail", [{"x": "y" * 40_000}, {"x": object()}])
async def test_what_fits_no_envelope_is_dropped_alone(detail: dict[str, object]) -> None:
    tally = Tally()
    outbox = Outbox(ME, tally)
    outbox.add(Control("bad", detail))
    outbox.add(QueueDue(1))
    assert [event for event, _ in await outbox.take()] == [QueueDue(1)]
    assert tally.dropped == 1
