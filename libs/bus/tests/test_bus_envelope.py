"""The envelope: known bytes, inverse, and what is refused one by one."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_bus.envelope import MAX_BYTES, VERSION, Envelope, Lost, Unreadable, decode, encode
from posthorn_model.events import (
    Changed,
    ChangeKind,
    Control,
    EchoAnswered,
    EchoAsked,
    Event,
    LeaseAsked,
    LeaseNotice,
    NodeNotice,
    QueueDue,
    Topic,
)
from posthorn_model.ids import AccountId, Epoch, Modseq, NodeId

numbers = st.integers(0, 2**63 - 1)
words = st.text(max_size=40)
plain = st.none() | st.booleans() | numbers | words
events: st.SearchStrategy[Event | Lost] = st.one_of(
    st.builds(Changed, numbers, numbers, st.frozensets(st.sampled_from(ChangeKind))),
    st.builds(Control, words, st.dictionaries(words, plain | st.lists(plain, max_size=3), max_size=4)),
    st.builds(QueueDue, numbers),
    st.builds(LeaseNotice, words, numbers, numbers, st.booleans()),
    st.builds(LeaseAsked, words, numbers),
    st.builds(NodeNotice, numbers, words, words, st.floats(0, 1)),
    st.builds(EchoAsked, words),
    st.builds(EchoAnswered, words, numbers, words, words),
    st.builds(Lost, st.sampled_from(Topic)),
)


def test_a_change_has_these_bytes() -> None:
    event = Changed(AccountId(7), Modseq(42), frozenset({ChangeKind.EMAIL, ChangeKind.MAILBOX}))
    data = encode(Envelope(event, 3, NodeId(2), "b00t"))
    assert data == (
        b'{"v":1,"w":2,"t":"changed","i":3,"n":2,"b":"b00t","d":{"account":7,"modseq":42,"kinds":["Email","Mailbox"]}}'
    )
    assert decode(data) == Envelope(event, 3, NodeId(2), "b00t")


@given(events, numbers, numbers, words)
def test_decoding_undoes_encoding(event: Event | Lost, serial: int, node: int, boot: str) -> None:
    envelope = Envelope(event, serial, NodeId(node), boot)
    assert decode(encode(envelope)) == envelope


@given(st.binary(max_size=200) | events.map(lambda event: encode(Envelope(event, 1, NodeId(1), "b"))[:-1]))
def test_anything_else_is_unreadable(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)


def changed(**other: object) -> bytes:
    fields = {"v": 1, "t": "changed", "i": 1, "n": 1, "b": "x", "d": {"account": 1, "modseq": 2, "kinds": ["Email"]}}
    return json.dumps(fields | other).encode()


def test_unknown_fields_and_kinds_of_a_newer_version_are_ignored() -> None:
    data = changed(new=1, d={"account": 1, "modseq": 2, "kinds": ["Email", "Hologram", 5], "shape": "round"})
    assert decode(data).event == Changed(AccountId(1), Modseq(2), frozenset({ChangeKind.EMAIL}))


def test_a_later_writer_is_read_as_long_as_this_version_suffices() -> None:
    assert decode(changed(v=VERSION, w=VERSION + 7)).event == decode(changed()).event


def test_what_the_first_version_cannot_know_is_not_for_its_readers() -> None:
    known = [Changed(AccountId(1), Modseq(2), frozenset()), NodeNotice(NodeId(1), "imap", "ready")]
    newer = [EchoAsked("p"), EchoAnswered("p", NodeId(1), "imap", "b"), Lost(Topic.CHANGES)]
    least = [json.loads(encode(Envelope(event, 1, NodeId(1), "b")))["v"] for event in [*known, *newer]]
    assert least == [1, 1, 2, 2, 2]


@pytest.mark.parametrize(
    "data",
    [
        changed(v=VERSION + 1),
        changed(v=0),
        changed(v=None),
        changed(v=True),
        changed(v="1"),
        changed(t="lost", d={"topic": "weather"}),
        changed(t="echo", d={}),
        changed(t="echo-answer", d={"probe": "p", "node": 1, "service": "imap"}),
        changed(t="teleported"),
        changed(t=7),
        changed(d=[]),
        changed(d={"account": True, "modseq": 2, "kinds": []}),
        changed(d={"account": -1, "modseq": 2, "kinds": []}),
        changed(d={"account": 2**63, "modseq": 2, "kinds": []}),
        changed(d={"account": 1, "modseq": "2", "kinds": []}),
        changed(d={"account": 1, "modseq": 2}),
        changed(t="control", d={"name": "x", "detail": []}),
        changed(t="control", d={"name": "x" * 600}),
        changed(t="lease", d={"key": "queue/1", "node": 1, "epoch": 1, "held": 1}),
        changed(t="node", d={"node": 1, "service": "imap", "state": "ready", "load": float("nan")}),
        changed(b="x" * 600),
        b"[" * 20_000,
        b"[]",
        b"1" * 10_000,
        changed(pad="x" * MAX_BYTES),
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(Unreadable):
        decode(data)


@pytest.mark.parametrize("detail", [{"x": "y" * MAX_BYTES}, {"x": {1, 2}}, {"x": float("inf")}])
def test_a_notice_that_does_not_fit_cannot_be_encoded(detail: dict[str, object]) -> None:
    with pytest.raises(Unreadable):
        encode(Envelope(Control("big", detail), 1, NodeId(1), "b"))


def test_a_load_outside_its_range_is_brought_into_it() -> None:
    event = decode(changed(t="node", d={"node": 1, "service": "imap", "state": "ready", "load": 7})).event
    assert event == NodeNotice(NodeId(1), "imap", "ready", 1.0)


def test_epochs_are_exact() -> None:
    event = LeaseNotice("queue/1", NodeId(1), Epoch(2**62 + 1), held=True)
    assert decode(encode(Envelope(event, 1, NodeId(1), "b"))).event == event


def test_where_a_change_is_in_the_log_travels_along_and_may_be_missing() -> None:
    """Old processes neither send nor know the field (design law 11)."""
    told = Changed(AccountId(7), Modseq(42), frozenset({ChangeKind.EMAIL}), "7712/1/99")
    assert decode(encode(Envelope(told, 1, NodeId(1), "boot"))).event == told
    silent = Changed(AccountId(7), Modseq(42), frozenset({ChangeKind.EMAIL}))
    assert b'"at"' not in encode(Envelope(silent, 1, NodeId(1), "boot"))
    assert decode(encode(Envelope(silent, 1, NodeId(1), "boot"))).event == silent
