"""The grammar: known answers for every command, clear refusals, and inverses of what is written."""

from datetime import UTC, date, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_imap.protocol import commands as c
from posthorn_imap.protocol import search_keys as k
from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem
from posthorn_imap.protocol.dates import date_time, write_date_time
from posthorn_imap.protocol.fetch_items import Decoded, DecodedSize, Item, Section, What
from posthorn_imap.protocol.flag_names import flag_list, write_flags
from posthorn_imap.protocol.framer import Command, Framer, FramerLimits, Literal
from posthorn_imap.protocol.grammar import CommandProblem, read_request, tag_of
from posthorn_imap.protocol.mailbox_grammar import UnknownUse
from posthorn_imap.protocol.mailbox_names import decode_utf7, encode_utf7, mailbox_name, matches
from posthorn_imap.protocol.sets import (
    STAR,
    NumberSet,
    parse_set,
    positions_of_numbers,
    positions_of_uids,
    write_set,
)
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.mail import Role

ONE = NumberSet(((1, 1),))
REST = NumberSet(((1, STAR),))


def read(text: bytes) -> c.Command:
    """The command in `text`, in which literals are non-synchronizing."""
    framer = Framer(FramerLimits())
    framer.feed(b"t " + text + b"\r\n")
    while not isinstance(event := framer.next_event(), Command):
        assert event is not None, "incomplete"
        framer.accept()
    request = read_request(event.parts)
    assert request.tag == b"t"
    return request.command


def key(text: bytes) -> k.Key:
    command = read(b"SEARCH " + text)
    assert isinstance(command, c.Search)
    return command.key


KNOWN: list[tuple[bytes, c.Command]] = [
    (b"capability", c.Capability()),
    (b"NOOP", c.Noop()),
    (b"LOGOUT", c.Logout()),
    (b"STARTTLS", c.StartTls()),
    (b"AUTHENTICATE plain", c.Authenticate(b"PLAIN", None)),
    (b"AUTHENTICATE PLAIN =", c.Authenticate(b"PLAIN", b"=")),
    (b"AUTHENTICATE PLAIN AGEAYg==", c.Authenticate(b"PLAIN", b"AGEAYg==")),
    (b"LOGIN ann secret", c.Login(b"ann", b"secret")),
    (b'LOGIN "a\\"n\\\\n" {3+}\r\np\r\n', c.Login(b'a"n\\n', b"p\r\n")),
    (b"ID NIL", c.Id(())),
    (b'ID ("name" "mutt" "os" NIL)', c.Id(((b"name", b"mutt"), (b"os", b"")))),
    (b'ID ( "name" "aioimaplib" )', c.Id(((b"name", b"aioimaplib"),))),
    (b"ID ()", c.Id(())),
    (b"LOGIN {1+}\r\na  {1+}\r\nb", c.Login(b"a", b"b")),
    (b"ENABLE condstore QRESYNC", c.Enable((b"CONDSTORE", b"QRESYNC"))),
    (b"NAMESPACE", c.Namespace()),
    (b"IDLE", c.Idle()),
    (b"SELECT inbox", c.Select("INBOX", False)),
    (b"EXAMINE {5+}\r\nInBox", c.Select("INBOX", True)),
    (b'SELECT "a b" (CONDSTORE)', c.Select("a b", False, condstore=True)),
    (
        b"SELECT x (QRESYNC (67890007 20050715194045000 41,43:211 (1,2 41,43)))",
        c.Select(
            "x",
            False,
            condstore=True,
            resync=c.Resync(
                67890007, 20050715194045000, parse_set(b"41,43:211"), (parse_set(b"1,2"), parse_set(b"41,43"))
            ),
        ),
    ),
    (
        b"SELECT x (QRESYNC (1 2 (3 4)))",
        c.Select("x", False, True, c.Resync(1, 2, None, (parse_set(b"3"), parse_set(b"4")))),
    ),
    (b"CREATE a/b/", c.Create("a/b")),
    (b"CREATE x (USE (\\sent))", c.Create("x", Role.SENT)),
    (b"DELETE &AOQ-", c.Delete("ä")),
    (b"RENAME a inbox/b", c.Rename("a", "INBOX/b")),
    (b"SUBSCRIBE a", c.Subscribe("a", True)),
    (b"UNSUBSCRIBE a", c.Subscribe("a", False)),
    (b'LIST "" ""', c.ListMailboxes(("",), separator_only=True)),
    (b"LIST a/ %", c.ListMailboxes(("a/%",))),
    (
        b'LIST (SUBSCRIBED RECURSIVEMATCH) "" ("a*" b) RETURN (CHILDREN STATUS (MESSAGES UIDNEXT))',
        c.ListMailboxes(
            ("a*", "b"),
            subscribed_only=True,
            recursive_match=True,
            return_subscribed=True,
            return_status=(c.StatusItem.MESSAGES, c.StatusItem.UIDNEXT),
        ),
    ),
    (b'LSUB "" *', c.ListSubscribed("*")),
    (b"STATUS inbox (messages SIZE)", c.Status("INBOX", (c.StatusItem.MESSAGES, c.StatusItem.SIZE))),
    (b"APPEND inbox {3+}\r\nabc", c.Append("INBOX", (c.Letter(Flags(), None, b"abc"),))),
    (
        b"APPEND x {1+}\r\na (\\Seen) {1+}\r\nb",
        c.Append("x", (c.Letter(Flags(), None, b"a"), c.Letter(Flags(SystemFlag.SEEN), None, b"b"))),
    ),
    (b"REPLACE 4 x {1+}\r\na", c.Replace(parse_set(b"4"), "x", c.Letter(Flags(), None, b"a"), uid=False)),
    (b"UID REPLACE * x {1+}\r\na", c.Replace(parse_set(b"*"), "x", c.Letter(Flags(), None, b"a"), uid=True)),
    (b"FETCH 1 BINARY.PEEK[1.2]<3.4>", c.Fetch(ONE, (Decoded((1, 2), 3, 4, True, b"BINARY[1.2]<3>"),), False)),
    (b"FETCH 1 binary[]", c.Fetch(ONE, (Decoded(),), False)),
    (b"FETCH 1 (BINARY.SIZE[2])", c.Fetch(ONE, (DecodedSize((2,), b"BINARY.SIZE[2]"),), False)),
    (b"GETQUOTA account", c.GetQuota(b"account")),
    (b"GETQUOTAROOT inbox", c.GetQuotaRoot("INBOX")),
    (b'GETMETADATA "" /shared/comment', c.GetMetadata("", ("/shared/comment",))),
    (
        b"GETMETADATA (MAXSIZE 1024 DEPTH infinity) inbox (/private/A /shared/b)",
        c.GetMetadata("INBOX", ("/private/a", "/shared/b"), 255, 1024),
    ),
    (
        b"SETMETADATA x (/private/a NIL /private/b {1+}\r\nb)",
        c.SetMetadata("x", (("/private/a", None), ("/private/b", b"b"))),
    ),
    (b'LIST "" % RETURN (METADATA (/private/a))', c.ListMailboxes(("%",), return_metadata=("/private/a",))),
    (b"COMPRESS deflate", c.Compress(b"DEFLATE")),
    (b"UNAUTHENTICATE", c.Unauthenticate()),
    (
        b'APPEND x (\\Seen $Work) " 1-Feb-2024 10:20:30 +0100" {0+}\r\n',
        c.Append(
            "x",
            (c.Letter(Flags(SystemFlag.SEEN, frozenset({"$work"})), datetime(2024, 2, 1, 9, 20, 30, tzinfo=UTC), b""),),
        ),
    ),
    (b"CHECK", c.Check()),
    (b"CLOSE", c.Close(expunge=True)),
    (b"UNSELECT", c.Close(expunge=False)),
    (b"EXPUNGE", c.Expunge()),
    (b"UID EXPUNGE 1:*", c.Expunge(REST)),
    (b"FETCH 1 FAST", c.Fetch(ONE, (Item.FLAGS, Item.INTERNALDATE, Item.SIZE), False)),
    (b"UID FETCH 1:* (UID flags UID)", c.Fetch(REST, (Item.UID, Item.FLAGS), True)),
    (b"FETCH $ BODY", c.Fetch(NumberSet((), saved=True), (Item.BODY,), False)),
    (
        b"UID FETCH 1 (FLAGS) (CHANGEDSINCE 5 VANISHED)",
        c.Fetch(ONE, (Item.FLAGS,), True, changed_since=5, vanished=True),
    ),
    (b"STORE 1 +FLAGS (\\Deleted)", c.Store(ONE, "add", Flags(SystemFlag.DELETED), False, False)),
    (b"STORE 1 -flags.silent \\Seen x", c.Store(ONE, "remove", Flags(SystemFlag.SEEN, frozenset({"x"})), True, False)),
    (b"UID STORE 1 (UNCHANGEDSINCE 7) FLAGS ()", c.Store(ONE, "replace", Flags(), False, True, 7)),
    (b"COPY 1 x", c.Copy(ONE, "x", False, False)),
    (b"UID MOVE 1 x", c.Copy(ONE, "x", True, True)),
    (b"SEARCH ALL", c.Search(k.All(), None, False)),
    (
        b"UID SEARCH RETURN (MIN COUNT) UNSEEN",
        c.Search(k.Not(k.Flagged(SystemFlag.SEEN)), c.Results(frozenset({b"MIN", b"COUNT"})), True),
    ),
    (b"SEARCH RETURN () ALL", c.Search(k.All(), c.Results(frozenset({b"ALL"})), False)),
]


@pytest.mark.parametrize(("text", "command"), KNOWN, ids=lambda value: repr(value)[:40])
def test_known_answers(text: bytes, command: c.Command) -> None:
    assert read(text) == command


def sections(text: bytes) -> object:
    command = read(b"FETCH 1 " + text)
    assert isinstance(command, c.Fetch)
    return command.items[0]


@pytest.mark.parametrize(
    ("text", "section"),
    [
        (b"BODY[]", Section(name=b"BODY[]")),
        (b"body.peek[]<0.100>", Section(start=0, length=100, peek=True, name=b"BODY[]<0>")),
        (b"BODY[1.2.3]", Section((1, 2, 3), name=b"BODY[1.2.3]")),
        (b"BODY[header]", Section(what=What.HEADER, name=b"BODY[HEADER]")),
        (b"BODY[2.TEXT]<7.1>", Section((2,), What.TEXT, start=7, length=1, name=b"BODY[2.TEXT]<7>")),
        (b"BODY[1.MIME]", Section((1,), What.MIME, name=b"BODY[1.MIME]")),
        (
            b'BODY[HEADER.FIELDS (From "to")]',
            Section(what=What.FIELDS, fields=(b"From", b"to"), name=b"BODY[HEADER.FIELDS (From to)]"),
        ),
        (
            b"BODY[4.1.HEADER.FIELDS.NOT (A)]",
            Section((4, 1), What.FIELDS_NOT, (b"A",), name=b"BODY[4.1.HEADER.FIELDS.NOT (A)]"),
        ),
        (b"RFC822", Section(name=b"RFC822")),
        (b"RFC822.HEADER", Section(what=What.HEADER, peek=True, name=b"RFC822.HEADER")),
    ],
)
def test_body_sections(text: bytes, section: Section) -> None:
    assert sections(text) == section


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b"NEW", k.And((k.Recent(), k.Not(k.Flagged(SystemFlag.SEEN))))),
        (b"NOT DELETED 2:3", k.And((k.Not(k.Flagged(SystemFlag.DELETED)), k.Numbered(parse_set(b"2:3"), False)))),
        (
            b"OR (FROM a TO b) UID 7",
            k.Or(
                k.And((k.Contains(k.Where.FROM, "a"), k.Contains(k.Where.TO, "b"))), k.Numbered(parse_set(b"7"), True)
            ),
        ),
        (b"SINCE 1-Feb-2024", k.Dated(k.When.SINCE, date(2024, 2, 1), False)),
        (b'SENTBEFORE "01-feb-2024"', k.Dated(k.When.BEFORE, date(2024, 2, 1), True)),
        (b"HEADER X-Spam yes", k.HeaderContains("X-Spam", "yes")),
        (b'HEADER Subject ""', k.HeaderContains("Subject", "")),
        (b"CHARSET UTF-8 SUBJECT {3+}\r\n\xe2\x82\xac", k.Contains(k.Where.SUBJECT, "€")),
        (b"CHARSET iso-8859-1 TEXT {1+}\r\n\xe4", k.Contains(k.Where.TEXT, "ä")),
        (b"UNKEYWORD Junk", k.Not(k.HasKeyword("junk"))),
        (b"LARGER 5000000000", k.Sized(5000000000, True)),
        (b"YOUNGER 60", k.Aged(60, True)),
        (b'MODSEQ "/flags/\\\\draft" all 620162338', k.ChangedSince(620162338)),
        (b"THREADID T64", k.Identified("T64", True)),
        (b"(((ALL)))", k.All()),
    ],
)
def test_search_keys(text: bytes, found: k.Key) -> None:
    assert key(text) == found


BROKEN = [
    (b"", "expected a command"),
    (b"FROB", "unknown command FROB"),
    (b"UID", "missing argument"),
    (b"UID NOOP", "unknown command NOOP"),
    (b"NOOP x", "NOOP: unexpected text"),
    (b"LOGIN ann", "LOGIN: missing argument"),
    (b'LOGIN "ann', "LOGIN: expected an atom or a string"),
    (b"LOGIN {3+}\r\na\0b x", "NUL in a literal"),
    (b"LOGIN ~{1+}\r\na b", "binary literal"),
    (b"SELECT &", "modified UTF-7"),
    (b"SELECT \xc3\xa4", "expected an atom"),
    (b"SELECT {2+}\r\n\xc3\xa4", "modified UTF-7"),
    (b"SELECT x (FROB)", "unknown SELECT parameter"),
    (b"FETCH 0 FLAGS", "invalid number"),
    (b"FETCH 1: FLAGS", "invalid number"),
    (b"FETCH 4294967296 FLAGS", "invalid number"),
    (b"FETCH 1 FROB", "unknown FETCH item"),
    (b"FETCH 1 ()", "empty list"),
    (b"FETCH 1 BODY[MIME]", "MIME needs a part number"),
    (b"FETCH 1 BODY[0]", "zero"),
    (b"FETCH 1 BODY[1..2]", "unknown body section"),
    (b"FETCH 1 BODY[1.]", "unknown body section"),
    (b"FETCH 1 BODY[]<1.0>", "zero"),
    (b"FETCH 1 BODY[" + b"1." * 101 + b"1]", "too deep"),
    (b"FETCH 1 BODY[HEADER.FIELDS ()]", "empty list"),
    (b"STORE 1 FLAGS \\Recent", "cannot be set"),
    (b"STORE 1 FLAGS (\\Frob)", "cannot be set"),
    (b"STORE 1 FLAGS " + b"k" * 129, "not a valid keyword"),
    (b"APPEND x abc", "must be a literal"),
    (b'APPEND x "31-Feb-2024 10:20:30 +0100" {1+}\r\na', "no such date-time"),
    (b"SEARCH FROB", "unknown search key"),
    (b"SEARCH " + b"(" * 40 + b"ALL" + b")" * 40, "too complex"),
    (b"SEARCH " + b"NOT " * 40 + b"ALL", "too complex"),
    (b"SEARCH " + b" ".join([b"ALL"] * 501), "too complex"),
    (b"SEARCH ON 31-Feb-2024", "no such date"),
    (b"SEARCH SUBJECT {1+}\r\n\xff", "does not fit its charset"),
    (b"SEARCH RETURN (FROB) ALL", "unknown result option"),
    (b'LIST (FROB) "" *', "unknown selection option"),
    (b'LIST (RECURSIVEMATCH) "" *', "needs another"),
    (b"STATUS x (FROB)", "unknown STATUS item"),
    (b"STATUS x ()", "empty list"),
    (b"ID (" + b" ".join([b'"a" "b"'] * 31) + b")", "more than 30"),
]


@pytest.mark.parametrize(("text", "reason"), BROKEN, ids=lambda value: repr(value)[:40])
def test_what_cannot_be_read_is_refused_with_its_tag_and_reason(text: bytes, reason: str) -> None:
    with pytest.raises(CommandProblem) as caught:
        read(text)
    assert caught.value.tag == b"t"
    assert reason in caught.value.reason


@pytest.mark.parametrize("line", [b"", b" NOOP", b"NOOP", b"+ NOOP", b"\xff\xfe x", b"(a) NOOP"])
def test_a_line_without_a_tag_is_garbage(line: bytes) -> None:
    with pytest.raises(CommandProblem) as caught:
        read_request((line,))
    assert caught.value.tag is None
    assert caught.value.garbage


def test_unknown_charsets_and_uses_are_not_syntax_errors() -> None:
    with pytest.raises(k.UnknownCharset):
        read(b"SEARCH CHARSET X-KLINGON ALL")
    for use in (b"\\All", b"\\Sent \\Junk"):
        with pytest.raises(UnknownUse):
            read(b"CREATE x (USE (" + use + b"))")


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(read(b"LOGIN ann secret"))


@pytest.mark.parametrize(("head", "tag"), [(b"a1 NO\0OP", b"a1"), (b"a1", None), (b"", None), (b"* x", None)])
def test_the_tag_of_a_broken_command(head: bytes, tag: bytes | None) -> None:
    assert tag_of(head) == tag


@given(st.binary(max_size=120))
def test_any_line_is_read_or_refused(line: bytes) -> None:
    try:
        read_request((b"t " + line,), {b"IMAP4REV2"})
        read_request((b"t " + line,))
    except (CommandProblem, k.UnknownCharset, UnknownUse):
        return


@given(
    st.lists(
        st.one_of(
            st.sampled_from(
                [
                    b"t SEARCH ",
                    b"t FETCH 1 ",
                    b"t APPEND x ",
                    b" ",
                    b"(",
                    b")",
                    b'"',
                    b"BODY[",
                    b"BINARY[",
                    b"UTF8 (",
                    b"1.2",
                    b"]<",
                    b"OR ",
                    b"NOT ",
                ]
            ),
            st.binary(max_size=9).map(Literal),
        ),
        max_size=9,
    )
)
def test_any_mixture_of_pieces_is_read_or_refused(parts: list[bytes | Literal]) -> None:
    try:
        read_request(parts, {b"UTF8=ACCEPT"})
        read_request(parts)
    except (CommandProblem, k.UnknownCharset, UnknownUse):
        return


# Names


@pytest.mark.parametrize(
    ("name", "octets"),
    [
        ("INBOX", b"INBOX"),
        ("a&b", b"a&-b"),
        ("~peter/mail/台北/日本語", b"~peter/mail/&U,BTFw-/&ZeVnLIqe-"),
        ("Entwürfe", b"Entw&APw-rfe"),
        ("😀", b"&2D3eAA-"),
    ],
)
def test_modified_utf7_known_answers(name: str, octets: bytes) -> None:
    assert encode_utf7(name) == octets
    assert decode_utf7(octets) == name


@given(st.text(st.characters(exclude_categories=["Cs", "Cc"]), max_size=40))
def test_modified_utf7_inverse(name: str) -> None:
    assert decode_utf7(encode_utf7(name)) == name


@pytest.mark.parametrize(
    "octets", [b"&", b"a&b", b"&AGE-", b"&AOQ", b"&AOQ-&AOQ-", b"&2D0-", b"a\x01", b"&A-", b"&AAo-&-\n"]
)
def test_names_the_encoder_would_not_write_are_refused(octets: bytes) -> None:
    with pytest.raises(SyntaxProblem):
        decode_utf7(octets)


def test_inbox_has_no_case_also_above_children() -> None:
    assert mailbox_name(b"inBox") == "INBOX"
    assert mailbox_name(b"inbox/Sub") == "INBOX/Sub"
    assert mailbox_name(b"inboxes") == "inboxes"


@pytest.mark.parametrize(
    ("name", "wanted", "expected"),
    [
        ("a/b/c", "*", True),
        ("a/b", "%", False),
        ("a", "%", True),
        ("a/b", "a/%", True),
        ("a/b/c", "a/%", False),
        ("a/b/c", "a/%/%", True),
        ("a/b/c", "%/c", False),
        ("a/b/c", "*/c", True),
        ("a/b/c", "%*c", True),
        ("INBOX", "inb%", True),
        ("INBOX", "InBoX", True),
        ("INBOX/x", "inbox/%", True),
        ("Sent", "sent", False),
        ("a.c", "a?c", False),
        ("", "*", True),
        ("ab", "a", False),
    ],
)
def test_patterns(name: str, wanted: str, expected: bool) -> None:
    assert matches(name, wanted) is expected


def test_a_hostile_pattern_is_matched_in_linear_time() -> None:
    assert not matches("a" * 4000, "*a" * 200 + "b")


# Sets


def spread(ranges: list[range]) -> list[int]:
    return [number for each in ranges for number in each]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"1", [0]), (b"*", [4]), (b"2:4,3:5", [1, 2, 3, 4]), (b"5:2", [1, 2, 3, 4]), (b"*:4", [3, 4]), (b"1,1,1", [0])],
)
def test_sequence_numbers(text: bytes, expected: list[int]) -> None:
    assert spread(positions_of_numbers(parse_set(text), 5)) == expected


def test_unused_sequence_numbers_are_refused_and_star_of_nothing_is_nothing() -> None:
    for text in (b"6", b"1:6", b"7:*"):
        with pytest.raises(SyntaxProblem):
            positions_of_numbers(parse_set(text), 5)
    assert positions_of_numbers(parse_set(b"1:*"), 0) == []


UIDS = [3, 5, 9, 10]


@pytest.mark.parametrize(
    ("text", "expected"),
    [(b"4", []), (b"5", [1]), (b"4:9", [1, 2]), (b"*", [3]), (b"99:*", [3]), (b"1:*", [0, 1, 2, 3]), (b"10,3", [0, 3])],
)
def test_uids(text: bytes, expected: list[int]) -> None:
    assert spread(positions_of_uids(parse_set(text), UIDS)) == expected


@given(st.lists(st.integers(1, 60), min_size=1, unique=True).map(sorted))
def test_set_inverse(numbers: list[int]) -> None:
    assert [n + 1 for n in spread(positions_of_numbers(parse_set(write_set(numbers)), 60))] == numbers


# Dates and flags


@given(st.datetimes(datetime(1970, 1, 1), datetime(2100, 1, 1)))
def test_date_time_inverse(moment: datetime) -> None:
    aware = moment.replace(microsecond=0, tzinfo=UTC)
    assert date_time(Cursor((write_date_time(aware),))) == aware


def test_flags_inverse() -> None:
    flags = Flags(SystemFlag.SEEN | SystemFlag.DRAFT, frozenset({"$forwarded", "junk"}))
    written = write_flags(flags)
    assert written == b"(\\Seen \\Draft $forwarded junk)"
    assert flag_list(Cursor((written,))) == flags
    assert write_flags(flags, recent=True) == b"(\\Seen \\Draft \\Recent $forwarded junk)"


def test_keywords_that_are_no_atoms_are_not_shown() -> None:
    assert write_flags(Flags(keywords=frozenset({"ok", "a]b"}))) == b"(ok)"
