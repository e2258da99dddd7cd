"""The milter protocol as values: known octets, packets however they are cut, and any octets as an answer."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_in.filters.changes import AddField, ChangeField, InsertField
from posthorn_smtp_in.filters.protocol import milter_commands as commands
from posthorn_smtp_in.filters.protocol.milter_answers import (
    AddRecipient,
    Answer,
    ChangeSender,
    Decision,
    MilterChange,
    Quarantine,
    RemoveRecipient,
    ReplaceBody,
    read_answer,
)
from posthorn_smtp_in.filters.protocol.milter_packets import (
    Action,
    MacroStage,
    Options,
    Packet,
    PacketReader,
    Part,
    offer,
    read_options,
)
from posthorn_smtp_in.filters.protocol.problems import BadAnswer
from posthorn_smtp_in.protocol.replies import reply

ALL = Action(0xFF)
PLAIN = Options(6, ALL, Part(0))
packets = st.builds(Packet, st.binary(min_size=1, max_size=1), st.binary(max_size=60))


def test_the_offer_and_what_is_agreed() -> None:
    assert offer(Action.ADD_FIELDS) == b"\0\0\0\x0dO\0\0\0\x06\0\0\x01\x01\0\x1f\xf7\xff"
    answer = Packet(b"O", bytes.fromhex("00000006 00000101 00100402") + b"\0\0\0\x02i {auth_authen}\0")
    options = read_options(answer, Action.ADD_FIELDS)
    assert options.parts == Part.NO_HELO | Part.SKIP | Part.LEADING_SPACE
    assert options.macros == {MacroStage.MAIL: ("i", "{auth_authen}")}


@pytest.mark.parametrize(
    "data",
    ["", "0000000600000000", "000000010000000000000000", "000000070000000000000000", "000000060000000200000000",
     "000000060000000080000000", "00000006000000000000000000000009410a00", "0000000600000000000000000000000141"],
)  # fmt: skip
def test_what_is_no_agreement(data: str) -> None:
    with pytest.raises(BadAnswer):
        read_options(Packet(b"O", bytes.fromhex(data)), Action.ADD_FIELDS)


@pytest.mark.parametrize(
    ("told", "octets"),
    [
        (commands.connect("192.0.2.1"), b"DC\0\0\0\x1aC[192.0.2.1]\x004\0\x00192.0.2.1\0"),
        (commands.connect("2001:db8::1"), b"C[2001:db8::1]\x006\0\x002001:db8::1\0"),
        (commands.connect(""), b"Clocalhost\0U"),
        (commands.helo("a\0b"), b"Hab\0"),
        (commands.mail("e@f.net", ["SIZE=1"]), b"DMi\0id\0\0\0\0\x12M<e@f.net>\0SIZE=1\0"),
        (commands.header(b"Subject :  a\r\n\tb\r\n", PLAIN), b"LSubject\0a\n\tb\0"),
        (
            commands.header(b"Subject:  a\r\n", Options(6, ALL, Part.LEADING_SPACE)),
            b"LSubject\0  a\0",
        ),
    ],
)
def test_what_a_milter_is_told(told: commands.Told, octets: bytes) -> None:
    assert told.encode(PLAIN, {"i": "id"}).endswith(octets)


def test_what_it_does_not_want_is_left_out() -> None:
    options = Options(3, ALL, Part.NO_HELO | Part.MUTE_MAIL)
    assert not commands.helo("a").wanted(options)
    assert not commands.DATA.wanted(options)
    assert commands.mail("", []).wanted(options)
    assert not commands.mail("", []).answered(options)


@pytest.mark.parametrize(
    ("packet", "answer"),
    [
        (Packet(b"c"), Answer(Decision.CONTINUE)),
        (Packet(b"r"), Answer(Decision.REJECT, reply(550, "5.7.1", "Command rejected"))),
        (Packet(b"y", b"451 4.7.9 Later\0"), Answer(Decision.TEMPFAIL, reply(451, "4.7.9", "Later"))),
        (Packet(b"y", b"550 No\0"), Answer(Decision.REJECT, reply(550, "5.7.1", "No"))),
        (Packet(b"y", b"550 4.1.1 No\0"), Answer(Decision.REJECT, reply(550, "5.1.1", "No"))),
        (Packet(b"y", b"550-5.7.2 a\r\n550 5.7.2 b\0"), Answer(Decision.REJECT, reply(550, "5.7.2", "a", "b"))),
        (Packet(b"h", b"A\0b\0"), AddField(b"A", b"b")),
        (Packet(b"i", b"\0\0\0\x02A\0b\0"), InsertField(2, b"A", b"b")),
        (Packet(b"m", b"\0\0\0\x01A\0\0"), ChangeField(b"A", 1, b"")),
        (Packet(b"e", b"<a@b.org>\0SIZE=1\0"), ChangeSender("a@b.org")),
        (Packet(b"+", b"<a@b.org>\0"), AddRecipient("a@b.org")),
        (Packet(b"2", b"a@b.org\0\0"), AddRecipient("a@b.org")),
        (Packet(b"-", b"<a@b.org>\0"), RemoveRecipient("a@b.org")),
        (Packet(b"b", b"\0body"), ReplaceBody(b"\0body")),
        (Packet(b"q", b"why\0"), Quarantine("why")),
    ],
)
def test_answers(packet: Packet, answer: Answer | MilterChange) -> None:
    assert read_answer(packet, ALL) == answer


@pytest.mark.parametrize(
    "packet",
    [Packet(b"?"), Packet(b"y", b"250 OK\0"), Packet(b"y", b"550-a\r\n450 b\0"), Packet(b"y"), Packet(b"h", b"A\0b"),
     Packet(b"i", b"\0")],
)  # fmt: skip
def test_what_is_no_answer(packet: Packet) -> None:
    with pytest.raises(BadAnswer):
        read_answer(packet, ALL)


def test_a_change_that_was_not_agreed_is_no_answer() -> None:
    with pytest.raises(BadAnswer):
        read_answer(Packet(b"b", b"body"), Action.ADD_FIELDS)


@given(packets)
def test_any_packet_is_an_answer_or_a_bad_one(packet: Packet) -> None:
    for read in (lambda: read_answer(packet, ALL), lambda: read_options(Packet(b"O", packet.data), ALL)):
        try:
            found = read()
        except BadAnswer:
            continue
        if isinstance(found, Answer) and found.reply is not None:
            assert found.reply.code >= 400
            assert found.reply.encode().count(b"\n") == len(found.reply.lines)


@given(st.lists(packets, max_size=5), st.integers(1, 20))
def test_packets_however_they_are_cut(sent: list[Packet], size: int) -> None:
    octets = b"".join(packet.encode() for packet in sent)
    reader, found = PacketReader(), []
    for start in range(0, len(octets), size):
        reader.feed(octets[start : start + size])
        while (packet := reader.next()) is not None:
            found.append(packet)
    assert found == sent
    assert reader.empty


@given(st.binary(max_size=200))
def test_any_octets_are_packets_or_bad(octets: bytes) -> None:
    reader = PacketReader()
    reader.feed(octets)
    try:
        while reader.next() is not None:
            pass
    except BadAnswer:
        return
