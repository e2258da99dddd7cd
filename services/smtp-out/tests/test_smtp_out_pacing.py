"""How a destination is approached: room, turns, and being left alone; and the limits that the settings set."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_out.pacing import AHEAD, Limits, Pace
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_smtp_out.remoting import limits
from posthorn_smtp_out.routes import Destination
from posthorn_smtp_out.settings import SmtpOutSettings

BUSY = Reply(421, ("4.3.2 too busy",))


def pace(**given: float) -> Pace:
    return Pace(Limits(8, **given), (120.0, 300.0, 600.0), next_start=0.0)  # type: ignore[arg-type]


def test_it_is_left_alone_longer_each_time_and_then_approached_slowly() -> None:
    it = pace()
    for now, pause in ((1000.0, 60.0), (2000.0, 150.0), (3000.0, 300.0), (4000.0, 300.0)):
        it.refused(now, BUSY, 0.5)
        assert it.until == now + pause
        it.refused(now + 1, BUSY, 0.5)  # the same cause
        assert it.until == now + pause
        assert it.backing_off(now + pause - 1)
        assert not it.backing_off(now + pause)
        assert it.room(relay=False) == 1
    rooms = []
    for _ in range(4):
        it.went_well()
        rooms.append(it.room(relay=False))
    assert rooms == [2, 4, 8 * AHEAD, 8 * AHEAD]
    it.refused(9000.0, BUSY, 0.5)
    assert it.until == 9060.0


@given(st.floats(0, 1))
def test_no_message_has_to_wait_longer_for_its_destination_than_by_its_own_schedule(jitter: float) -> None:
    it = pace()
    for failures in range(1, 6):
        it.refused(it.until, BUSY, jitter)
        assert it.until < sum(it.schedule[min(n, 3) - 1] for n in range(1, failures + 1))


@given(st.lists(st.floats(0, 3), max_size=50))
def test_turns_are_spaced_whenever_they_are_asked_for(pauses: list[float]) -> None:
    it, now, begun = pace(interval=0.5), 100.0, []
    for pause in pauses:
        now += pause
        begun.append(now + it.turn(now))
    assert all(after - before >= 0.5 - 1e-9 for before, after in itertools.pairwise(begun))
    assert it.room(relay=True) == 3


def test_a_transaction_is_as_large_as_the_remote_takes() -> None:
    it = pace(recipients=100)
    assert it.transaction == 100
    it.took_only(30)
    it.took_only(50)
    assert it.transaction == 30


@pytest.mark.parametrize(
    ("key", "expected"),
    [
        ("a.example", Limits(2, 100, 5, 0.6, 10.0)),
        ("x.wide.example", Limits(3, 7, 100, 0.0, 10.0)),
        ("else.example", Limits(10, 100, 100, 0.0, 10.0)),
        ("Boxes", Limits(4, 100, 100, 0.0, 10.0)),
    ],
)
def test_limits_are_those_of_the_nearest_name(key: str, expected: Limits) -> None:
    settings = SmtpOutSettings.model_validate(
        {
            "sites": {
                "a.example": {"connections": 2, "recipients-per-transaction": 5, "rate": "100/1m"},
                "*.wide.example": {"connections": 3, "messages-per-connection": 7},
                "boxes": {"connections": 4},
            }
        }
    )
    assert limits(settings)(Destination(key)) == expected
