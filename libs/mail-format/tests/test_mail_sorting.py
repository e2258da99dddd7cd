"""What messages are sorted and threaded by: collation, first addresses of a stored envelope, Message-IDs."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format.collation import casemap
from posthorn_mail_format.envelope_reading import FirstAddress, first_addresses
from posthorn_mail_format.headers import by_name, iterate
from posthorn_mail_format.imap_view import envelope
from posthorn_mail_format.listing import build, dump
from posthorn_mail_format.references import NamedIds, listed_ids, named_ids


@pytest.mark.parametrize(
    ("one", "other"),
    [("abc", "ABC"), ("ä", "Ä"), ("ä", "a\u0308"), ("\u01c4", "\u01c6"), ("\u212b", "å")],
    ids=["ascii", "umlaut", "composed", "digraph", "angstrom"],
)
def test_texts_that_are_equal_without_case(one: str, other: str) -> None:
    assert casemap(one) in (casemap(other), casemap(other.lower()), casemap(other.title()))


def test_the_order_of_texts() -> None:
    texts = ["_x", "b", "Z", "a", "ä", "", "ß", "日本"]
    assert sorted(texts, key=casemap) == ["", "a", "ä", "b", "Z", "_x", "ß", "日本"]


def firsts(header: str) -> list[tuple[str | None, ...] | None]:
    made = envelope(by_name(iterate(header.encode())))
    return [
        None
        if each is None
        else tuple(None if part is None else part.decode() for part in (each.name, each.mailbox, each.host))
        for each in first_addresses(made)
    ]


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("Subject: x\r\n", [None, None, None]),
        ("From: Ann <a@b.c>, Bob <d@e.f>\r\nCc: x@y.z\r\n", [("Ann", "a", "b.c"), None, (None, "x", "y.z")]),
        (
            'From: "A \\"B\\" (C)" <a@b.c>\r\nTo: T <t@u.v>, w@x.y\r\n',
            [('A "B" (C)', "a", "b.c"), ("T", "t", "u.v"), None],
        ),
        (
            "From: Ä <a@b.c>\r\nTo: Ö <t@u.v>, z@x.y\r\nCc: c@d.e\r\n",
            [("Ä", "a", "b.c"), ("Ö", "t", "u.v"), (None, "c", "d.e")],
        ),
        ("Subject: ä\r\nTo: friends: a@b.c, d@e.f;, x@y.z\r\n", [None, (None, "friends", None), None]),
        ("Subject: ()NIL{3}\r\nFrom: NIL <NIL@NIL>\r\n", [("NIL", "NIL", "NIL"), None, None]),
    ],
    ids=["none", "plain", "quoted", "literals", "a group", "words of the grammar"],
)
def test_first_addresses(header: str, found: list[tuple[str | None, ...] | None]) -> None:
    assert firsts(header) == found


@given(st.binary(max_size=300))
def test_any_octets_for_an_envelope(octets: bytes) -> None:
    assert len(first_addresses(octets)) == 3
    assert len(first_addresses(b"(NIL NIL ((" + octets)) == 3


@given(st.text(alphabet='ab@<>(),;:" \\\r\n=ä', max_size=80))
def test_literals_and_quoted_strings_tell_the_same(text: str) -> None:
    header = f"From: {text}\r\n".encode()
    plain = envelope(by_name(iterate(header + b"Subject: x\r\n")))
    forced = envelope(by_name(iterate(header + "Subject: ä\r\n".encode())))
    assert first_addresses(plain) == first_addresses(forced)


@pytest.mark.parametrize(
    ("address", "shown"),
    [
        (FirstAddress(b"=?utf-8?q?=C3=84nne?=", b"a", b"b.c"), "Änne"),
        (FirstAddress(b"", b"a", b"b.c"), "a@b.c"),
        (FirstAddress(None, b"group", None), "group"),
        (FirstAddress(None, None, None), ""),
    ],
    ids=["name", "address", "group", "nothing"],
)
def test_display(address: FirstAddress, shown: str) -> None:
    assert address.display == shown


@pytest.mark.parametrize(
    ("header", "ids"),
    [
        ("", NamedIds(None, ())),
        ("Message-ID: <a@b>\r\nReferences: <1@x>\r\n <2@x>\r\nIn-Reply-To: <3@x>\r\n", NamedIds("a@b", ("1@x", "2@x"))),
        ("message-id :<a@b>\r\nIn-Reply-To: <3@x> <4@x>\r\n", NamedIds("a@b", ("3@x",))),
        ("In-Reply-To: Message from joe@example.org of Monday\r\n", NamedIds(None, ())),
        ('References: <"1a"@x> <2 @x>\r\nX-References: <9@x>\r\n', NamedIds(None, ("1a@x", "2@x"))),
        ("References: none\r\nIn-Reply-To: <3@x>\r\n", NamedIds(None, ("3@x",))),
        ("Message-ID: <>\r\nReferences: <<1@x>\r\n", NamedIds(None, ("1@x",))),
    ],
    ids=["none", "folded", "in reply to", "no brackets", "quoted", "unreadable references", "broken"],
)
def test_message_ids(header: str, ids: NamedIds) -> None:
    assert named_ids(header.encode()) == ids


def test_message_ids_of_a_listing() -> None:
    values = by_name(iterate(b"Message-ID: <a@b>\r\nReferences: " + b" ".join(b"<%d@x>" % n for n in range(500))))
    found = listed_ids(dump(build(values)))
    assert (found.own, len(found.references), found.references[0], found.references[-1]) == ("a@b", 256, "0@x", "499@x")
    assert listed_ids(b"no JSON") == NamedIds(None, ())
