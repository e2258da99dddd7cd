"""When to try again, what an answer means, who is told: tables over pure functions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.ids import BlobKey, Epoch, QueueMessageId
from posthorn_model.queue_items import DueRecipient, RecipientState, Terms
from posthorn_smtp_out.groups import grouped
from posthorn_smtp_out.outcomes import Answer, Policy, conclude, notices_due, wants_report
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_smtp_out.retry import expired, next_due

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
POLICY = Policy(retry=(120.0, 300.0, 600.0), expire=86_400.0)
DUE = DueRecipient(
    id=7,
    message=QueueMessageId(3),
    shard=1,
    site="example.net",
    address="bob@example.net",
    sender="ann@example.org",
    blob=BlobKey(b"k" * 32),
    size=10,
    attempt=0,
    created_at=NOW,
    notify=None,
    orcpt=None,
    smtputf8=False,
    eight_bit=False,
    ret=None,
    envid=None,
    in_doubt=False,
)


@pytest.mark.parametrize(("attempts", "pause"), [(0, 120), (1, 120), (2, 300), (3, 600), (4, 600), (1000, 600)])
def test_the_schedule_ends_with_its_last_pause(attempts: int, pause: int) -> None:
    assert next_due(POLICY.retry, attempts, NOW) == NOW + timedelta(seconds=pause)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=20), st.integers(-5, 10_000))
def test_the_next_attempt_is_never_in_the_past(schedule: list[float], attempts: int) -> None:
    assert next_due(schedule, attempts, NOW) >= NOW


def test_expiry_is_reached_exactly() -> None:
    assert not expired(NOW, 60, NOW + timedelta(seconds=59))
    assert expired(NOW, 60, NOW + timedelta(seconds=60))


def test_a_temporary_reply_defers_then_the_age_fails_it() -> None:
    answer = Answer(Reply(451, ("4.3.0 later",)), "mx.example.net [192.0.2.1]:25", "TLSv1.3")
    outcome = conclude(replace(DUE, attempt=1), answer, epoch=Epoch(5), policy=POLICY, now=NOW)
    assert (outcome.state, outcome.status, outcome.due) == (
        RecipientState.WAITING,
        "4.3.0",
        NOW + timedelta(seconds=300),
    )
    assert (outcome.epoch, outcome.remote, outcome.tls) == (5, "mx.example.net [192.0.2.1]:25", "TLSv1.3")
    old = replace(DUE, created_at=NOW - timedelta(days=1))
    outcome = conclude(old, answer, epoch=Epoch(5), policy=POLICY, now=NOW)
    assert (outcome.state, outcome.status, outcome.due) == (RecipientState.FAILED, "5.4.7", None)
    assert "451 4.3.0 later" in outcome.reply


@pytest.mark.parametrize(
    ("reply", "pauses"),
    [
        (Reply(450, ("4.2.0 greylisted",)), [60, 120, 300, 600]),
        (Reply(451, ("4.7.1 come back later",)), [60, 120, 300, 600]),
        (Reply(451, ("4.3.0 no",)), [120, 300, 600, 600]),
    ],
)
def test_greylisting_is_tried_again_early(reply: Reply, pauses: list[int]) -> None:
    found = [
        conclude(replace(DUE, attempt=made, created_at=NOW), Answer(reply), epoch=Epoch(1), policy=POLICY, now=NOW).due
        for made in range(4)
    ]
    assert found == [NOW + timedelta(seconds=pause) for pause in pauses]


def test_final_replies_end_it_whatever_its_age() -> None:
    old = replace(DUE, created_at=NOW - timedelta(days=9))
    good = conclude(old, Answer(Reply(250, ("2.0.0 ok",))), epoch=Epoch(1), policy=POLICY, now=NOW)
    bad = conclude(DUE, Answer(Reply(550, ("5.1.1 no",))), epoch=Epoch(1), policy=POLICY, now=NOW)
    assert (good.state, good.due) == (RecipientState.DELIVERED, None)
    assert (bad.state, bad.status, bad.due) == (RecipientState.FAILED, "5.1.1", None)


def test_doubt_is_marked_in_the_time_line() -> None:
    outcome = conclude(replace(DUE, in_doubt=True), Answer(Reply(250, ("ok",))), epoch=Epoch(1), policy=POLICY, now=NOW)
    assert outcome.reply.startswith("(in doubt before)")


FAILED, TAKEN, LATER = Reply(550, ("no",)), Reply(250, ("ok",)), Reply(451, ("later",))


@pytest.mark.parametrize(
    ("sender", "notify", "answer", "action"),
    [
        ("ann@example.org", None, Answer(FAILED), "failed"),
        ("ann@example.org", "FAILURE,DELAY", Answer(FAILED), "failed"),
        ("ann@example.org", "SUCCESS", Answer(FAILED), None),
        ("ann@example.org", "NEVER", Answer(FAILED), None),
        ("", None, Answer(FAILED), None),
        ("", "SUCCESS,FAILURE", Answer(FAILED), None),
        ("ann@example.org", None, Answer(TAKEN), None),
        ("ann@example.org", "SUCCESS", Answer(TAKEN), None),
        ("ann@example.org", "SUCCESS", Answer(TAKEN, relayed_without_dsn=True), "relayed"),
        ("ann@example.org", "SUCCESS", Answer(TAKEN, local=True), "delivered"),
        ("ann@example.org", None, Answer(LATER), None),
    ],
)
def test_reports_follow_notify_and_never_answer_the_null_sender(
    sender: str, notify: str | None, answer: Answer, action: str | None
) -> None:
    due = replace(DUE, sender=sender, notify=notify)
    outcome = conclude(due, answer, epoch=Epoch(1), policy=POLICY, now=NOW)
    assert wants_report(due, outcome, answer) == action


BY = NOW + timedelta(seconds=50)


@pytest.mark.parametrize(
    ("terms", "at", "answer", "state", "again", "action"),
    [
        # Before the time: the next attempt is not later than it.
        (Terms(BY), NOW, LATER, RecipientState.WAITING, BY, None),
        (Terms(BY, by_return=False), NOW, LATER, RecipientState.WAITING, BY, None),
        (Terms(BY + timedelta(days=1)), NOW, LATER, RecipientState.WAITING, NOW + timedelta(seconds=120), None),
        # After it: back, or tried on and its sender told.
        (Terms(BY), BY, LATER, RecipientState.FAILED, None, "failed"),
        (Terms(BY, by_return=False), BY, LATER, RecipientState.WAITING, BY + timedelta(seconds=120), "delayed"),
        (Terms(BY, by_return=False), BY, TAKEN, RecipientState.DELIVERED, None, None),
        (Terms(BY, by_trace=True), NOW, TAKEN, RecipientState.DELIVERED, None, "relayed"),
    ],
)
def test_a_time_to_deliver_by_is_kept(
    terms: Terms, at: datetime, answer: Reply, state: RecipientState, again: datetime | None, action: str | None
) -> None:
    due = replace(DUE, terms=terms, created_at=NOW, attempt=0, sender="ann@example.org", notify="FAILURE")
    outcome = conclude(due, Answer(answer), epoch=Epoch(1), policy=POLICY, now=at)
    assert (outcome.state, outcome.due) == (state, again)
    assert wants_report(due, outcome, Answer(answer)) == action
    never = replace(due, notify="NEVER")
    outcome = conclude(never, Answer(answer), epoch=Epoch(1), policy=POLICY, now=at)
    assert wants_report(never, outcome, Answer(answer)) is None


def test_who_was_told_that_it_is_late_is_not_told_again() -> None:
    due = replace(DUE, terms=Terms(BY, by_return=False), created_at=NOW, noticed=True)
    outcome = conclude(due, Answer(LATER), epoch=Epoch(1), policy=POLICY, now=BY)
    assert (outcome.noticed, wants_report(due, outcome, Answer(LATER))) == (False, None)


def test_recipients_of_one_message_and_site_share_a_transaction_up_to_the_limit() -> None:
    due = [replace(DUE, id=number, message=QueueMessageId(number % 2), site=f"s{number % 3}") for number in range(12)]
    groups = grouped([*due, *(replace(DUE, id=100 + number) for number in range(5))], lambda site: 2)
    assert all(len(group.recipients) <= 2 for group in groups)
    assert sorted(recipient.id for group in groups for recipient in group.recipients) == [
        *range(12),
        *range(100, 105),
    ]
    assert all({(r.message, r.site) for r in g.recipients} == {(g.message, g.site)} for g in groups)


NOTICING = Policy((120.0,), 432_000.0, (86_400.0, 259_200.0))
FULL = Answer(Reply(451, ("4.2.2 full",)), "mx.example.net [192.0.2.1]:25")


@pytest.mark.parametrize(
    ("age", "had", "told"),
    [(86_399, 0, 0), (86_400, 0, 1), (90_000, 1, 0), (259_200, 1, 2), (259_200, 0, 2), (300_000, 2, 0)],
)
def test_a_sender_hears_of_a_delay_once_for_each_age(age: int, had: int, told: int) -> None:
    due = replace(DUE, created_at=NOW - timedelta(seconds=age))
    outcome = conclude(due, FULL, epoch=Epoch(1), policy=NOTICING, now=NOW, notices=had)
    assert outcome.notices == told
    assert wants_report(due, outcome, FULL) == ("delayed" if told else None)


@pytest.mark.parametrize(
    ("changes", "count"),
    [
        ({}, 1),
        ({"notify": "FAILURE"}, 0),
        ({"notify": "SUCCESS,DELAY"}, 1),
        ({"notify": "NEVER"}, 0),
        ({"sender": ""}, 0),
    ],
    ids=["default", "failure", "delay", "never", "bounce"],
)
def test_who_hears_of_delays(changes: dict[str, str], count: int) -> None:
    due = replace(DUE, created_at=NOW - timedelta(days=2), **changes)
    assert notices_due(due, NOTICING, NOW) == count
    assert notices_due(due, POLICY, NOW) == 0


def test_what_has_ended_is_not_told_as_a_delay() -> None:
    due = replace(DUE, created_at=NOW - timedelta(days=2))
    for reply in (Reply(250, ("ok",)), Reply(550, ("5.1.1 no",))):
        assert conclude(due, Answer(reply), epoch=Epoch(1), policy=NOTICING, now=NOW).notices == 0
