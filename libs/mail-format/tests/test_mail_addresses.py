"""Address lists of header fields and mailboxes of the envelope."""

from email.headerregistry import Address as OracleAddress
from email.utils import getaddresses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format.addresses import (
    Address,
    Group,
    _Parser,
    _plain_addresses,
    flatten,
    parse_addresses,
    parse_mailbox,
    parse_path,
)
from posthorn_model.errors import InvalidAddress


def one(name: str | None, mailbox: str, host: str, route: str = "") -> Address:
    return Address(name, mailbox, host, route)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        (b"ann@example.org", (one(None, "ann", "example.org"),)),
        (b'"Joe Q. Public" <john.q.public@example.com>', (one("Joe Q. Public", "john.q.public", "example.com"),)),
        # RFC 5322 A.1.2 and A.1.3
        (b"Who? <one@y.test>, <boss@nil.test>", (one("Who?", "one", "y.test"), one(None, "boss", "nil.test"))),
        (
            b"A Group:Ed Jones <c@a.test>,joe@where.test;",
            (Group("A Group", (one("Ed Jones", "c", "a.test"), one(None, "joe", "where.test"))),),
        ),
        (b"Undisclosed recipients:;", (Group("Undisclosed recipients", ()),)),
        # RFC 5322 A.5 and A.6: comments, obsolete routes and spaces
        (b"Pete(A nice \\) chap) <pete(his account)@silly.test(his host)>", (one("Pete", "pete", "silly.test"),)),
        (
            b"Mary Smith <@node.test:mary@example.net>, , jdoe@test  . example",
            (one("Mary Smith", "mary", "example.net", "@node.test"), one(None, "jdoe", "test.example")),
        ),
        # RFC 5322 4.4, obs-local-part; a dot that ends an initial is none of it
        (b"john . q . public @ example.org", (one(None, "john.q.public", "example.org"),)),
        (b"John Q. public@example.org", (one("John Q.", "public", "example.org"),)),
        (b"<@a.test,@b.test:joe@c.test>", (one(None, "joe", "c.test", "@a.test,@b.test"),)),
        (b"ann@example.org (Ann Other)", (one("Ann Other", "ann", "example.org"),)),
        (b'"a b"@example.org', (one(None, "a b", "example.org"),)),
        (b'"x@y" <ann@[192.0.2.1]>', (one("x@y", "ann", "[192.0.2.1]"),)),
        (b"a@b.test; c@d.test", (one(None, "a", "b.test"), one(None, "c", "d.test"))),
        (b"root", (one(None, "root", ""),)),
        (b"Ann Other", (one("Ann Other", "", ""),)),
        (b"<ann@example.org", (one(None, "ann", "example.org"),)),
        (b" ,, ;", ()),
        (b"", ()),
        (b"=?utf-8?q?a=2Cb?= <a@b.test>", (one("=?utf-8?q?a=2Cb?=", "a", "b.test"),)),
    ],
)
def test_known_lists(value: bytes, expected: tuple[Address | Group, ...]) -> None:
    assert parse_addresses(value) == expected


def test_names_and_emails_are_readable() -> None:
    (first, second) = flatten(parse_addresses(b'=?utf-8?q?J=C3=B6rg?= =?utf-8?q?_X?= <a@b>, "a \\"b"@c.test'))
    assert (first.display_name, first.email) == ("Jörg X", "a@b")
    assert (second.display_name, second.email) == (None, '"a \\"b"@c.test')
    (raw,) = flatten(parse_addresses(b"J\xf6rg <j\xc3\xb6rg@b>"))
    assert (raw.display_name, raw.email) == ("Jörg", "jörg@b")


@given(st.binary(max_size=400))
def test_any_value_gives_clean_text(value: bytes) -> None:
    for address in flatten(parse_addresses(value)):
        assert (address.display_name or "").encode() is not None
        assert "\0" not in address.email + (address.display_name or "")
        address.email.encode()


@given(
    st.lists(
        st.tuples(
            st.text("abcXYZ .,()<>\"'\\@:;", max_size=12).map(str.strip).map(lambda name: " ".join(name.split())),
            st.from_regex(r"[a-z]{1,8}(\.[a-z]{1,4})?", fullmatch=True),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_lists_written_by_the_standard_library_are_read_back(people: list[tuple[str, str]]) -> None:
    value = ", ".join(str(OracleAddress(name, user, "example.org")) for name, user in people).encode()
    found = [(address.name or "", address.mailbox) for address in flatten(parse_addresses(value))]
    assert found == people


def test_the_corpus_agrees_with_the_standard_library_on_addresses(corpus_messages: list[tuple[str, bytes]]) -> None:
    from email import message_from_bytes
    from email.policy import compat32

    compared = 0
    for name, data in corpus_messages:
        message = message_from_bytes(data, policy=compat32)
        values = [str(value) for value in message.get_all("from", []) + message.get_all("to", [])]
        for value in values:
            if not value.isascii() or any(mark in value for mark in ":;()"):
                continue
            read = [email for _, email in getaddresses([value])]
            expected = [email for email in read if email.find("@") > 0 and " " not in email]
            found = [address.email for address in flatten(parse_addresses(value.encode()))]
            if expected and len(expected) == len(found):
                assert found == expected, name
                compared += 1
    assert compared > 200


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ann@example.org", ("ann", "example.org")),
        ("ann+tag!#$%&'*+-/=?^_`{|}~@example.org", ("ann+tag!#$%&'*+-/=?^_`{|}~", "example.org")),
        ('"ann"@example.org', ("ann", "example.org")),
        ('"a b\\"c@d"@example.org', ('"a b\\"c@d"', "example.org")),
        ("a@[192.0.2.1]", ("a", "[192.0.2.1]")),
        ("a@[IPv6:2001:db8::1]", ("a", "[IPv6:2001:db8::1]")),
        ("a@localhost", ("a", "localhost")),
    ],
)
def test_envelope_mailboxes(text: str, expected: tuple[str, str]) -> None:
    assert parse_mailbox(text, smtputf8=False) == expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "@",
        "a",
        "a@",
        "@b",
        "a..b@c",
        ".a@c",
        "a.@c",
        "a b@c",
        "a@-b",
        "a@b-",
        "a@b..c",
        "a@.b",
        "a@b.",
        "a@b_c",
        "a@[300.1.1.1]",
        "a@[IPv6:x]",
        "a@[]",
        "a@[x",
        "a\r\n@b",
        "a@b\n",
        "a@b\r\nRCPT",
        "a@b@c",
        "a\x00@b",
        '"a@b',
        "a" * 65 + "@b",
        "a@" + "b" * 64,
        "a@" + "b." * 130 + "c",
        "ä@b",
        "a@ä.de",
        "<a@b>",
        "a@b>",
    ],
)
def test_envelope_refusals(text: str) -> None:
    with pytest.raises(InvalidAddress):
        parse_mailbox(text, smtputf8=False)


def test_internationalized_mailboxes_need_smtputf8() -> None:
    assert parse_mailbox("jörg@müller.example", smtputf8=True) == ("jörg", "müller.example")
    assert parse_mailbox("राम@डाटामेल.भारत", smtputf8=True) == ("राम", "डाटामेल.भारत")
    for text in ("a\u00a0b@c", "a@b\u2028c", "a\u202eb@c.test", "\ud800@b"):
        with pytest.raises(InvalidAddress):
            parse_mailbox(text, smtputf8=True)


def test_paths() -> None:
    assert parse_path("<>") == ("", "")
    assert parse_path("<ann@example.org>") == ("ann", "example.org")
    assert parse_path("<@a.test,@b.test:ann@example.org>") == ("ann", "example.org")
    assert parse_path("<Postmaster>") == ("Postmaster", "")
    for text in ("ann@example.org", "<ann@example.org", "<<a@b>>", "<@a:>", "< >"):
        with pytest.raises(InvalidAddress):
            parse_path(text)


PLAIN_PIECES = st.sampled_from([
    "a", "b.c", "@", "<", ">", ",", " ", "\t", '"', "x y", "Ann", "=?utf-8?q?=C3=B6?=", "é", "\udcff", ".", "<a@b>",
    "c@d", '"e, f"', "(g)", ":", ";", "[", "]", "\\", "\u2003", "\n",
])  # fmt: skip


@given(st.lists(PLAIN_PIECES, max_size=14).map("".join))
def test_the_short_way_reads_what_the_parser_reads(line: str) -> None:
    found = _plain_addresses(line)
    assert found is None or found == _Parser(line).run()


def test_the_short_way_is_taken() -> None:
    line = 'ann@example.org, Bob B. <bob@example.org>,"C, D"  <c@example.org> ,<d@example.org>,'
    assert _plain_addresses(line) == _Parser(line).run()
    assert [address.name for address in _plain_addresses(line) or ()] == [None, "Bob B.", "C, D", None]
