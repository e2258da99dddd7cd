"""Numbers that show what was missed, and the frames they travel in."""

from dataclasses import dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_bus.broadcast.frames import (
    MAX_EVENTS,
    Beat,
    Head,
    Malformed,
    View,
    batch,
    beat,
    read_batch,
    read_beat,
    read_view,
    view,
)
from posthorn_bus.broadcast.numbers import Heard, Sent
from posthorn_model.events import Topic


@dataclass
class ClockByHand:
    now: float = 1000.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


TOPIC = Topic.CHANGES


@given(st.lists(st.tuples(st.sampled_from(["arrives", "vanishes", "breaks"]), st.integers(1, 5)), max_size=30))
def test_whatever_is_lost_is_missed_once_the_last_number_is_said_again(story: list[tuple[str, int]]) -> None:
    """On the way ("vanishes"), or with a connection of the sender's that broke before it was confirmed."""
    clock = ClockByHand()
    sent, heard = Sent("b", clock), Heard(clock)
    heard.begin(TOPIC)
    lost = missed = False
    for what, count in story:
        clock.now += 0.5
        head = sent.head(TOPIC, count)
        if what == "arrives":
            missed |= heard.misses(TOPIC, head, count)
            sent.confirm(sent.unconfirmed())
        elif what == "breaks":
            sent.lose(sent.unconfirmed())
        lost |= what != "arrives"
    clock.now += 1
    if TOPIC in sent.unrepeated():
        missed |= heard.misses(TOPIC, sent.head(TOPIC, 0), 0)
    assert missed == lost
    clock.now += 1
    assert not heard.misses(TOPIC, sent.head(TOPIC, 0), 0)


def test_what_was_sent_before_one_listened_is_not_missed() -> None:
    clock = ClockByHand()
    sent, heard = Sent("b", clock), Heard(clock)
    sent.head(TOPIC, 3)
    clock.now += 1
    heard.begin(TOPIC)
    clock.now += 1
    assert not heard.misses(TOPIC, sent.head(TOPIC, 1), 1)
    assert not heard.misses(TOPIC, sent.head(TOPIC, 1), 1)


def test_a_repeated_batch_is_not_missed() -> None:
    clock = ClockByHand()
    sent, heard = Sent("b", clock), Heard(clock)
    heard.begin(TOPIC)
    heads = [sent.head(TOPIC, 2) for _ in range(3)]
    assert [heard.misses(TOPIC, heads[number], 2) for number in (0, 1, 0, 1, 2)] == [False] * 5


def test_a_number_sent_since_the_pulse_is_not_confirmed_by_it() -> None:
    sent = Sent("b", ClockByHand())
    sent.head(TOPIC, 1)
    before = sent.unconfirmed()
    sent.head(TOPIC, 1)
    sent.confirm(before)
    assert sent.unconfirmed() == {TOPIC: 2}


TEXT = st.text(max_size=40)
KEYS = st.lists(TEXT, max_size=5).map(tuple)
NUMBER = st.integers(0, 2**63 - 1)


@given(TEXT, NUMBER, st.none() | st.floats(0, 1e9), st.lists(st.binary().filter(lambda data: b"\n" not in data)))
def test_a_batch_is_read_as_it_was_written(boot: str, first: int, since: float | None, events: list[bytes]) -> None:
    head = Head(boot, first, since)
    assert read_batch(batch(head, events)) == (head, events)


@given(TEXT, TEXT, st.none() | KEYS, TEXT, NUMBER, st.booleans())
def test_a_beat_is_read_as_it_was_written(
    boot: str, member: str, keys: tuple[str, ...] | None, leader: str, turn: int, leaving: bool
) -> None:
    said = Beat(boot, member, keys, leader, turn, leaving)
    assert read_beat(beat(said)) == said


@given(TEXT, NUMBER, st.none() | st.dictionaries(TEXT, KEYS), KEYS, st.none() | TEXT)
def test_a_view_is_read_as_it_was_written(
    leader: str, turn: int, shares: dict[str, tuple[str, ...]] | None, ask: tuple[str, ...], heir: str | None
) -> None:
    said = View(leader, turn, shares, ask, heir)
    assert read_view(view(said)) == said


@given(st.binary())
def test_noise_is_malformed_or_read_and_nothing_else(data: bytes) -> None:
    for read in (read_batch, read_beat, read_view):
        try:
            read(data)
        except Malformed:
            continue


@pytest.mark.parametrize(
    "data",
    [
        b'{"v":1,"l":"a","g":1,"s":{"b":[5]},"ask":[],"heir":null}',
        b'{"v":1,"l":"a","g":1,"s":{"b":"queue/1"},"ask":[],"heir":null}',
        b'{"v":1,"l":"a","g":1,"s":null,"ask":null,"heir":null}',
        b'{"v":1,"l":"a","g":1.5,"s":null,"ask":[],"heir":null}',
        b'{"v":1,"l":"a","g":1,"s":null,"ask":[],"heir":5}',
    ],
)
def test_a_malformed_view_is_refused(data: bytes) -> None:
    with pytest.raises(Malformed):
        read_view(data)


def test_a_batch_with_too_many_events_is_refused() -> None:
    with pytest.raises(Malformed):
        read_batch(batch(Head("b", 1, None), [b"{}"] * (MAX_EVENTS + 1)))
