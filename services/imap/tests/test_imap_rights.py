"""Conversations about rights (RFC 4314, RFC 8440), and about mailboxes that others share: each right, each command."""

import asyncio
from typing import Any

import pytest

from posthorn_imap.protocol.acl import GetAcl, Identifier, ListRights, MyRights, SetAcl, write_rights
from posthorn_imap.protocol.cursor import SyntaxProblem
from posthorn_imap.protocol.grammar import CommandProblem, read_request
from posthorn_imap.protocol.shared_names import owner_in, prefix_of, within
from posthorn_imap.watched import WatchedAccount
from posthorn_mail_format import summarize
from posthorn_model.mail import NewMessage
from posthorn_model.rights import ALL, Right, rights
from posthorn_storage import Storage
from posthorn_storage.mail.rights import RightsEntry

# As values


@pytest.mark.parametrize(
    ("text", "command"),
    [
        ("SETACL Box bob lrs", SetAcl("Box", Identifier("bob"), "replace", rights("lrs"))),
        ("SETACL Box bob +cd", SetAcl("Box", Identifier("bob"), "add", rights("kxte"))),
        ('SETACL inbox "-anyone" -x', SetAcl("INBOX", Identifier("anyone", negative=True), "remove", rights("x"))),
        ('SETACL Box bob ""', SetAcl("Box", Identifier("bob"), "replace", Right.NONE)),
        ("DELETEACL Box -bob", SetAcl("Box", Identifier("bob", negative=True), "replace", Right.NONE, "DELETEACL")),
        ("GETACL Box", GetAcl("Box")),
        ("LISTRIGHTS Box bob", ListRights("Box", Identifier("bob"))),
        ("MYRIGHTS Box", MyRights("Box")),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_commands_are_read(text: str, command: object) -> None:
    assert read_request((b"a " + text.encode(),)).command == command


@pytest.mark.parametrize(
    "text", ["SETACL Box bob lz", "SETACL Box bob 0", "SETACL Box", 'SETACL Box "" l', "SETACL Box - l", "MYRIGHTS"]
)
def test_what_is_no_command_on_rights(text: str) -> None:
    with pytest.raises((CommandProblem, SyntaxProblem)):
        read_request((b"a " + text.encode(),))


def test_rights_are_written_with_the_letters_of_the_older_rfc() -> None:
    assert write_rights(ALL) == b"lrswipkxteacd"
    assert write_rights(rights("lrx")) == b"lrxc"
    assert write_rights(rights("e")) == b"ed"
    assert write_rights(Right.NONE) == b""


@pytest.mark.parametrize("address", ["ann@example.org", "a/b=c@example.org", "=2F@example.org"])
def test_names_of_others_say_whose_and_which(address: str) -> None:
    name = prefix_of(address) + "INBOX/Below"
    assert (owner_in(name), within(name)) == (address, "INBOX/Below")
    assert name.count("/") == 3


@pytest.mark.parametrize("name", ["INBOX", "Other Users", "Other Users/", "Other Users/ann@example.org", "Other/a/b"])
def test_names_that_are_of_nobody_else(name: str) -> None:
    assert owner_in(name) is None


# Conversations

LETTER = b"Subject: three\r\n\r\n"
ANN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
"""
BOB = """
2 S: * OK ...
2 C: l LOGIN bob@example.org hidden
2 S: l OK [CAPABILITY ... ACL RIGHTS=kxte LIST-MYRIGHTS ...
"""
BOX = '"Other Users/ann@example.org/Box"'


@pytest.fixture
async def shared(imap: Any, account: Any, storage: Storage) -> Any:
    """`await shared(letters, script)`: Ann's mailbox Box with two messages, in which Bob, who talks, may do that."""
    bob = await account("bob@example.org", password="hidden")
    ann = await storage.directory.find_account("ann@example.org")
    made: list[int] = []

    async def play(letters: str, script: str) -> Any:
        if not made:
            made.append((await storage.mail.create_mailbox(ann.id, "Box")).id)
            await imap.play(
                ANN
                + r"""
                C\: a APPEND Box (\\Flagged one) {16+}\r\nSubject: one\r\n\r\n {16+}\r\nSubject: two\r\n\r\n\r\n
                S: a OK ...
                """
            )
        talk = await imap.play(ANN + f'C: s SETACL Box bob@example.org "{letters}"\nS: s OK ...')
        await talk.play(BOB + script, box=BOX)
        return talk

    play.bob = bob  # type: ignore[attr-defined]
    return play


@pytest.mark.postgres
async def test_rights_are_given_told_and_taken_back(imap: Any, account: Any) -> None:
    await account("bob@example.org", password="hidden")
    await imap.play(
        ANN
        + """
        C: 1 CREATE Box
        S: 1 OK ...
        C: 2 GETACL Box
        S: * ACL "Box" ann@example.org lrswipkxteacd
        S: 2 OK GETACL completed
        C: 3 SETACL Box bob@example.org lrs
        S: 3 OK SETACL completed
        C: 4 SETACL Box Bob@Example.org +ic
        S: 4 OK ...
        C: 5 SETACL Box -bob@example.org r
        S: 5 OK ...
        C: 6 SETACL Box anyone l
        S: 6 OK ...
        C: 7 GETACL Box
        S: * ACL "Box" ann@example.org lrswipkxteacd anyone l bob@example.org lrsikxc -bob@example.org r
        S: 7 OK ...
        C: 8 SETACL Box bob@example.org -si
        S: 8 OK ...
        C: 9 DELETEACL Box -bob@example.org
        S: 9 OK DELETEACL completed
        C: 10 GETACL Box
        S: * ACL "Box" ann@example.org lrswipkxteacd anyone l bob@example.org lrkxc
        S: 10 OK ...
        C: 11 DELETEACL Box bob@example.org
        S: 11 OK ...
        C: 12 DELETEACL Box anyone
        S: 12 OK ...
        C: 13 GETACL Box
        S: * ACL "Box" ann@example.org lrswipkxteacd
        S: 13 OK ...
        C: 14 LISTRIGHTS Box bob@example.org
        S: * LISTRIGHTS "Box" bob@example.org "" l r s w i p k x t e c d a
        S: 14 OK LISTRIGHTS completed
        C: 15 LISTRIGHTS Box ann@example.org
        S: * LISTRIGHTS "Box" ann@example.org lrswipkxteacd
        S: 15 OK ...
        C: 16 MYRIGHTS Box
        S: * MYRIGHTS "Box" lrswipkxteacd
        S: 16 OK MYRIGHTS completed
        C: 17 SETACL Box eve@example.org l
        S: 17 NO [NONEXISTENT] that is the address of no account
        C: 18 SETACL Box ann@example.org l
        S: 18 NO [CANNOT] the owner of a mailbox has every right
        C: 19 SETACL Box bob@example.org lz
        S: 19 BAD ...
        C: 20 SETACL None bob@example.org l
        S: 20 NO [NONEXISTENT] ...
        """
    )


@pytest.mark.postgres
async def test_without_any_right_there_is_nothing(shared: Any) -> None:
    verbs = (
        "SELECT {box}",
        "EXAMINE {box}",
        "STATUS {box} (MESSAGES)",
        "MYRIGHTS {box}",
        "GETACL {box}",
        "LISTRIGHTS {box} bob@example.org",
        "SETACL {box} bob@example.org l",
        "DELETEACL {box} bob@example.org",
        "SUBSCRIBE {box}",
        "DELETE {box}",
        'RENAME {box} "Other Users/ann@example.org/Fox"',
        'CREATE "Other Users/ann@example.org/Box/Below"',
        'CREATE "Other Users/ann@example.org/New"',
        'CREATE "Other Users/nobody@example.org/New"',
        "GETQUOTAROOT {box}",
        "GETMETADATA {box} /shared/comment",
        'SETMETADATA {box} (/private/comment "x")',
    )
    script = "".join(f"2 C: {n} {verb}\n2 S: {n} NO [NONEXISTENT] ...\n" for n, verb in enumerate(verbs))
    await shared(
        "",
        script
        + r"""
        2 C\: a APPEND {box} {2+}\r\n\r\n\r\n
        2 S: a NO [TRYCREATE] ...
        2 C: b LIST "" "Other*"
        2 S: b OK ...
        2 C: c LIST "" "Other Users/%"
        2 S: c OK ...
        2 C: d CREATE "Other Users/mine"
        2 S: d NO [CANNOT] ...
        2 C: e CREATE "Other Users"
        2 S: e NO [CANNOT] ...
        """,
    )


@pytest.mark.postgres
async def test_l_shows_a_mailbox_and_nothing_in_it(shared: Any) -> None:
    await shared(
        "l",
        r"""
        2 C: 1 LIST "" *
        2 S: * LIST (\HasNoChildren) "/" "INBOX"
        2 S*: * LIST (\HasNoChildren) "/" {box}
        2 S*: 1 OK ...
        2 C: 2 LIST "" "%"
        2 S: * LIST (\Noselect \HasChildren) "/" "Other Users"
        2 S*: 2 OK ...
        2 C: 3 LIST "" "Other Users/%"
        2 S: * LIST (\Noselect \HasChildren) "/" "Other Users/ann@example.org"
        2 S: 3 OK ...
        2 C: 4 LIST "" "Other Users/ann@example.org/%" RETURN (MYRIGHTS STATUS (MESSAGES))
        2 S: * LIST (\HasNoChildren) "/" {box}
        2 S: * MYRIGHTS {box} l
        2 S: 4 OK ...
        2 C: 5 SELECT {box}
        2 S: 5 NO [NOPERM] ...
        2 C: 6 STATUS {box} (MESSAGES)
        2 S: 6 NO [NOPERM] ...
        2 C: 7 MYRIGHTS "Other Users/ANN@example.org/Box"
        2 S: * MYRIGHTS "Other Users/ANN@example.org/Box" l
        2 S: 7 OK ...
        2 C: 8 GETACL {box}
        2 S: 8 NO [NOPERM] ...
        2 C: 9 DELETE {box}
        2 S: 9 NO [NOPERM] ...
        2 C: 10 CREATE "Other Users/ann@example.org/Box/Below"
        2 S: 10 NO [NOPERM] ...
        2 C: 11 GETMETADATA {box} /shared/comment
        2 S: 11 NO [NOPERM] ...
        2 C: 12 GETQUOTAROOT {box}
        2 S: 12 NO [NOPERM] ...
        2 C\: 13 APPEND {box} {2+}\r\n\r\n\r\n
        2 S: 13 NO [NOPERM] ...
        2 C: 14 SUBSCRIBE {box}
        2 S: 14 OK ...
        2 C: 15 LSUB "" "Other*"
        2 S: * LSUB (\HasNoChildren) "/" {box}
        2 S: 15 OK ...
        2 C: 16 LIST (SUBSCRIBED) "" "Other*"
        2 S: * LIST (\HasNoChildren \Subscribed) "/" {box}
        2 S: 16 OK ...
        2 C: 17 UNSUBSCRIBE {box}
        2 S: 17 OK ...
        2 C: 18 LSUB "" "Other*"
        2 S: 18 OK ...
        C: 1 LSUB "" Box
        S: * LSUB (\HasNoChildren) "/" "Box"
        S: 1 OK ...
        """,
    )


@pytest.mark.postgres
async def test_r_reads_and_changes_nothing(shared: Any) -> None:
    await shared(
        "lr",
        r"""
        2 C: 1 SELECT {box}
        2 S: * 2 EXISTS
        2 S: * 0 RECENT
        2 S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft one)
        2 S: * OK [PERMANENTFLAGS ()] ...
        2 S*: 1 OK [READ-ONLY] SELECT completed
        2 C: 2 FETCH 1 (FLAGS BODY[])
        2 S: * 1 FETCH (FLAGS (\Flagged one) BODY[] {16}
        2 S: Subject: one
        2 S: ...
        2 S: )
        2 S: 2 OK ...
        2 C: 3 SEARCH SUBJECT two
        2 S: * SEARCH 2
        2 S: 3 OK ...
        2 C: 4 STORE 1 +FLAGS (\Seen \Deleted \Answered two)
        2 S: 4 NO [NOPERM] ...
        2 C: 5 EXPUNGE
        2 S: 5 NO [NOPERM] ...
        2 C: 6 MOVE 1 INBOX
        2 S: 6 NO [NOPERM] ...
        2 C\: 7 REPLACE 1 INBOX {2+}\r\n\r\n\r\n
        2 S: 7 NO [NOPERM] ...
        2 C: 8 COPY 1:2 {box}
        2 S: 8 NO [NOPERM] ...
        2 C: 9 COPY 1:2 INBOX
        2 S: 9 OK [COPYUID ... 1:2 1:2] COPY completed
        2 C: 10 STATUS {box} (MESSAGES UNSEEN)
        2 S: * STATUS {box} (MESSAGES 2 UNSEEN 2)
        2 S: 10 OK ...
        2 C: 11 ESEARCH IN (subtree "Other Users") FLAGGED
        2 S: * ESEARCH (TAG "11" MAILBOX {box} UIDVALIDITY ...) UID ALL 1
        2 S: 11 OK ...
        2 C: 12 GETMETADATA {box} /shared/comment
        2 S: * METADATA {box} (/shared/comment NIL)
        2 S: 12 OK ...
        2 C: 13 SETMETADATA {box} (/shared/comment "x")
        2 S: 13 NO [NOPERM] ...
        2 C: 14 SETMETADATA {box} (/private/comment "x")
        2 S: 14 OK ...
        2 C: 15 GETQUOTAROOT {box}
        2 S: * QUOTAROOT {box} "account ...
        2 S: * QUOTA "account ...
        2 S: 15 OK ...
        2 C: 16 CLOSE
        2 S: 16 OK ...
        2 C: 17 SELECT INBOX
        2 S*: 17 OK ...
        2 C: 18 FETCH 1:2 FLAGS
        2 S: * 1 FETCH (FLAGS (\Flagged \Recent one))
        2 S: * 2 FETCH (FLAGS ...
        2 S: 18 OK ...
        C: 1 GETMETADATA Box /private/comment
        S: * METADATA "Box" (/private/comment NIL)
        S: 1 OK ...
        C: 2 STATUS Box (UNSEEN)
        S: * STATUS "Box" (UNSEEN 2)
        S: 2 OK ...
        """,
    )


@pytest.mark.postgres
@pytest.mark.parametrize(
    ("letters", "flags", "after"),
    [
        ("s", r"\Seen", r"\Flagged \Seen one"),
        ("t", r"\Deleted", r"\Flagged \Deleted one"),
        ("w", r"\Answered \Flagged \Draft one \*", r"\Answered two"),
        ("st", r"\Deleted \Seen", r"\Flagged \Deleted \Seen one"),
        ("swt", r"\Answered \Flagged \Deleted \Seen \Draft one \*", r"\Answered \Deleted \Seen two"),
    ],
    ids=["s", "t", "w", "st", "swt"],
)
async def test_s_t_and_w_are_for_flags_of_their_own(shared: Any, letters: str, flags: str, after: str) -> None:
    """Of flags to be set those count that may be, and the others are as they were."""
    await shared(
        "lr" + letters,
        rf"""
        2 C: 1 SELECT {{box}}
        2 S*: * OK [PERMANENTFLAGS ({flags})] ...
        2 S*: 1 OK [READ-WRITE] ...
        2 C: 2 STORE 1 FLAGS (\Seen \Deleted \Answered two)
        2 S: * 1 FETCH (FLAGS ({after}))
        2 S: 2 OK ...
        2 C: 3 EXPUNGE
        2 S: 3 NO [NOPERM] ...
        2 C: 4 STORE 2 +FLAGS.SILENT (\Seen \Deleted \Answered two)
        2 S: 4 OK ...
        2 C: 5 STORE 2 -FLAGS.SILENT (\Seen \Deleted \Answered two)
        2 S: 5 OK ...
        2 C: 6 FETCH 2 FLAGS
        2 S: * 2 FETCH (FLAGS ())
        2 S: 6 OK ...
        """,
    )


@pytest.mark.postgres
async def test_s_alone_is_seen_by_reading(shared: Any) -> None:
    await shared(
        "lrs",
        r"""
        2 C: 1 SELECT {box}
        2 S*: 1 OK [READ-WRITE] ...
        2 C: 2 FETCH 1 BODY[TEXT]
        2 S: * 1 FETCH (BODY[TEXT] {0}
        2 S:  FLAGS (\Flagged \Seen one))
        2 S: 2 OK ...
        2 C: 3 STORE 1 +FLAGS (\Deleted)
        2 S: 3 NO [NOPERM] ...
        C: 1 STATUS Box (UNSEEN)
        S: * STATUS "Box" (UNSEEN 1)
        S: 1 OK ...
        """,
    )


@pytest.mark.postgres
async def test_i_inserts_with_the_flags_that_may_be_set(shared: Any) -> None:
    await shared(
        "lri",
        r"""
        2 C\: 1 APPEND {box} (\\Seen \\Deleted \\Answered word) {2+}\r\n\r\n\r\n
        2 S: 1 OK [APPENDUID ... 3] APPEND completed
        2 C\: 2 APPEND INBOX (\\Seen \\Deleted \\Answered word) {16+}\r\nSubject: own\r\n\r\n\r\n
        2 S: 2 OK ...
        2 C: 3 SELECT INBOX
        2 S*: 3 OK ...
        2 C: 4 COPY 1 {box}
        2 S: 4 OK [COPYUID ... 1 4] COPY completed
        2 C: 5 MOVE 1 {box}
        2 S: * OK [COPYUID ... 1 5] Moved
        2 S: * 1 EXPUNGE
        2 S: 5 OK ...
        2 C: 6 SELECT {box}
        2 S*: * 5 EXISTS
        2 S*: * OK [PERMANENTFLAGS ()] ...
        2 S*: 6 OK [READ-WRITE] ...
        2 C: 7 FETCH 3:5 FLAGS
        2 S: * 3 FETCH (FLAGS ())
        2 S: * 4 FETCH (FLAGS ())
        2 S: * 5 FETCH (FLAGS ())
        2 S: 7 OK ...
        2 C: 8 COPY 1 {box}
        2 S: * 6 EXISTS
        2 S: * 0 RECENT
        2 S: 8 OK [COPYUID ... 1 6] COPY completed
        2 C: 9 FETCH 6 (FLAGS BODY[])
        2 S: * 6 FETCH (FLAGS () BODY[] {16}
        2 S: Subject: one
        2 S*: 9 OK ...
        C: 1 SETACL Box bob@example.org +swt
        S: 1 OK ...
        2 C: 10 COPY 1 {box}
        2 S: * OK [PERMANENTFLAGS (\Answered \Flagged \Deleted \Seen \Draft one \*)] ...
        2 S: * 7 EXISTS
        2 S: * 0 RECENT
        2 S: 10 OK ...
        2 C: 11 FETCH 7 FLAGS
        2 S: * 7 FETCH (FLAGS (\Flagged one))
        2 S: 11 OK ...
        """,
    )


@pytest.mark.postgres
async def test_flags_and_content_go_with_messages_to_another_account(shared: Any) -> None:
    """There are rights to all flags here, and from the shared mailbox messages are moved to an own one."""
    await shared(
        "lrswite",
        r"""
        2 C: 1 SELECT {box}
        2 S*: 1 OK [READ-WRITE] ...
        2 C: 2 UID MOVE 1:2 INBOX
        2 S: * OK [COPYUID ... 1:2 1:2] Moved
        2 S: * 2 EXPUNGE
        2 S: * 1 EXPUNGE
        2 S: 2 OK ...
        2 C: 3 SELECT INBOX
        2 S*: * 2 EXISTS
        2 S*: 3 OK ...
        2 C: 4 FETCH 1:2 (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])
        2 S: * 1 FETCH (FLAGS (\Flagged \Recent one) ...
        2 S: Subject: one
        2 S*: * 2 FETCH ...
        2 S: Subject: two
        2 S*: 4 OK ...
        2 C\: 5 REPLACE 2 {box} (\\Draft) {16+}\r\nSubject: new\r\n\r\n\r\n
        2 S: * OK [APPENDUID ... 3] Replaced
        2 S: * 2 EXPUNGE
        2 S: 5 OK ...
        2 C: 6 COPY 1 "Other Users/ann@example.org/None"
        2 S: 6 NO [TRYCREATE] ...
        2 C\: 7 APPEND INBOX CATENATE (URL "/Other%20Users/ann@example.org/Box/;UID=3/;SECTION=HEADER")\r\n
        2 S*: 7 OK ...
        C: 1 SELECT Box
        S: * 1 EXISTS
        S*: 1 OK ...
        C: 2 FETCH 1 FLAGS
        S: * 1 FETCH (FLAGS (\Draft ...
        S: 2 OK ...
        """,
    )


@pytest.mark.postgres
async def test_the_owners_quota_holds(shared: Any, storage: Storage) -> None:
    await shared("lri", "2 C: 1 NOOP\n2 S: 1 OK ...")
    await storage._database.execute(
        "UPDATE account_counter SET quota = used_bytes WHERE account_id <> $1", shared.bob.id
    )
    await shared(
        "lri",
        r"""
        2 C\: 1 APPEND {box} {2+}\r\n\r\n\r\n
        2 S: 1 NO [OVERQUOTA] ...
        2 C\: 2 APPEND INBOX {2+}\r\n\r\n\r\n
        2 S: 2 OK ...
        2 C: 3 SELECT INBOX
        2 S*: 3 OK ...
        2 C: 4 COPY 1 {box}
        2 S: 4 NO [OVERQUOTA] ...
        """,
    )


@pytest.mark.postgres
async def test_t_and_e_remove_messages(shared: Any) -> None:
    await shared(
        "lrte",
        r"""
        2 C: 1 SELECT {box}
        2 S*: 1 OK [READ-WRITE] ...
        2 C: 2 STORE 1 +FLAGS.SILENT \Deleted
        2 S: 2 OK ...
        2 C: 3 EXPUNGE
        2 S: * 1 EXPUNGE
        2 S: 3 OK ...
        2 C: 4 STORE 1 +FLAGS.SILENT \Deleted
        2 S: 4 OK ...
        C: 1 SETACL Box bob@example.org lrt
        S: 1 OK ...
        2 C: 5 CLOSE
        2 S: * OK [PERMANENTFLAGS (\Deleted)] ...
        2 S: 5 OK ...
        2 C: 6 STATUS {box} (MESSAGES DELETED)
        2 S: * STATUS {box} (MESSAGES 1 DELETED 1)
        2 S: 6 OK ...
        C: 2 SETACL Box bob@example.org lre
        S: 2 OK ...
        2 C: 7 SELECT {box}
        2 S*: 7 OK [READ-WRITE] ...
        2 C: 8 MOVE 1 INBOX
        2 S: 8 NO [NOPERM] ...
        2 C: 9 CLOSE
        2 S: 9 OK ...
        2 C: 10 STATUS {box} (MESSAGES)
        2 S: * STATUS {box} (MESSAGES 0)
        2 S: 10 OK ...
        """,
    )


@pytest.mark.postgres
async def test_k_creates_below_and_x_renames_and_deletes(shared: Any) -> None:
    await shared(
        "lrk",
        r"""
        2 C: 1 CREATE "Other Users/ann@example.org/Box/One/Two"
        2 S: 1 OK [MAILBOXID ...
        2 C: 2 CREATE "Other Users/ann@example.org/Box/One"
        2 S: 2 NO [ALREADYEXISTS] ...
        2 C: 3 CREATE "Other Users/ann@example.org/Top"
        2 S: 3 NO [NONEXISTENT] ...
        2 C: 4 LIST "" "Other*"
        2 S: * LIST (\HasChildren) "/" {box}
        2 S: * LIST (\HasChildren) "/" "Other Users/ann@example.org/Box/One"
        2 S: * LIST (\HasNoChildren) "/" "Other Users/ann@example.org/Box/One/Two"
        2 S: 4 OK ...
        2 C: 5 MYRIGHTS "Other Users/ann@example.org/Box/One/Two"
        2 S: * MYRIGHTS ... lrkc
        2 S: 5 OK ...
        2 C: 6 DELETE "Other Users/ann@example.org/Box/One/Two"
        2 S: 6 NO [NOPERM] ...
        2 C: 7 RENAME "Other Users/ann@example.org/Box/One/Two" "Other Users/ann@example.org/Box/Two"
        2 S: 7 NO [NOPERM] ...
        2 C: 8 CREATE "Other Users/ann@example.org/Box/Sent" (USE (\Sent))
        2 S: 8 NO [USEATTR] ...
        C: 1 LIST "" Box/*
        S: * LIST (\HasChildren) "/" "Box/One"
        S: * LIST (\HasNoChildren) "/" "Box/One/Two"
        S: 1 OK ...
        C: 2 SETACL Box/One/Two bob@example.org +x
        S: 2 OK ...
        2 C: 10 RENAME "Other Users/ann@example.org/Box/One/Two" "Other Users/ann@example.org/Top"
        2 S: 10 NO [NONEXISTENT] ...
        2 C: 11 RENAME "Other Users/ann@example.org/Box/One/Two" Mine
        2 S: 11 NO [CANNOT] ...
        2 C: 12 RENAME INBOX "Other Users/ann@example.org/Box/Theirs"
        2 S: 12 NO [CANNOT] ...
        2 C: 13 RENAME "Other Users/ann@example.org/Box/One/Two" "Other Users/ann@example.org/Box/Three"
        2 S: 13 OK ...
        2 C: 14 DELETE "Other Users/ann@example.org/Box/Three"
        2 S: 14 OK ...
        C: 3 SETACL INBOX bob@example.org lrx
        S: 3 OK ...
        2 C: 15 RENAME "Other Users/ann@example.org/inbox" "Other Users/ann@example.org/Box/Four"
        2 S: 15 NO [CANNOT] ...
        2 C: 16 DELETE "Other Users/ann@example.org/INBOX"
        2 S: 16 NO [CANNOT] ...
        C: 4 LIST "" Box/*
        S: * LIST (\HasNoChildren) "/" "Box/One"
        S: 4 OK ...
        """,
    )


@pytest.mark.postgres
async def test_a_administers(shared: Any, account: Any) -> None:
    await account("eve@example.org", password="third")
    await shared(
        "la",
        r"""
        2 C: 1 GETACL {box}
        2 S: * ACL {box} ann@example.org lrswipkxteacd bob@example.org la
        2 S: 1 OK ...
        2 C: 2 SETACL {box} eve@example.org lr
        2 S: 2 OK ...
        2 C: 3 LISTRIGHTS {box} ann@example.org
        2 S: * LISTRIGHTS {box} ann@example.org lrswipkxteacd
        2 S: 3 OK ...
        2 C: 4 SETACL {box} ann@example.org r
        2 S: 4 NO [CANNOT] ...
        3 S: * OK ...
        3 C: l LOGIN eve@example.org third
        3 S: l OK ...
        3 C: 1 SELECT {box}
        3 S*: 1 OK [READ-ONLY] ...
        2 C: 5 DELETEACL {box} bob@example.org
        2 S: 5 OK ...
        2 C: 6 GETACL {box}
        2 S: 6 NO [NONEXISTENT] ...
        """,
    )


@pytest.mark.postgres
async def test_anyone_and_what_is_taken_from_one(shared: Any, account: Any) -> None:
    await account("eve@example.org", password="third")
    await shared(
        "",
        r"""
        C: 1 SETACL Box anyone lr
        S: 1 OK ...
        C: 2 SETACL Box -eve@example.org r
        S: 2 OK ...
        2 C: 1 SELECT {box}
        2 S*: 1 OK [READ-ONLY] ...
        3 S: * OK ...
        3 C: l LOGIN eve@example.org third
        3 S: l OK ...
        3 C: 1 SELECT {box}
        3 S: 1 NO [NOPERM] ...
        3 C: 2 MYRIGHTS {box}
        3 S: * MYRIGHTS {box} l
        3 S: 2 OK ...
        """,
    )


# While it is selected


@pytest.mark.postgres
@pytest.mark.parametrize(
    "waiting",
    [
        "2 C: i IDLE\n2 S: + idling",
        "2 C: n NOTIFY SET (selected (MessageNew MessageExpunge FlagChange))\n2 S: n OK ...",
        "",
    ],
    ids=["idle", "notified", "between commands"],
)
async def test_who_may_read_no_more_hears_it_and_is_out(shared: Any, waiting: str) -> None:
    talk = await shared("lrs", "2 C: 1 SELECT {box}\n2 S*: 1 OK [READ-WRITE] ...\n" + waiting)
    await talk.play("C: 1 SETACL Box bob@example.org lr\nS: 1 OK ...")
    changed = """
        2 S: * OK [PERMANENTFLAGS ()] ...
        2 S: * OK [READ-ONLY] The rights have changed
        """
    asked = "" if waiting else "2 C: 2 FETCH 1 BODY[]\n"
    await talk.play(asked + changed)
    if asked:
        await talk.play("2 S*: 2 OK ...")
    await talk.play("C: 2 DELETEACL Box bob@example.org\nS: 2 OK ...")
    asked = "" if waiting else "2 C: 3 FETCH 1 BODY[]\n"
    await talk.play(asked + "2 S: * BYE [NOPERM] The right to read the selected mailbox was taken back\n2 E:")


@pytest.mark.postgres
async def test_changes_reach_whoever_has_the_mailbox_selected(shared: Any) -> None:
    await shared(
        "lrst",
        r"""
        2 C: 1 SELECT {box}
        2 S*: 1 OK ...
        2 C: 2 IDLE
        2 S: + idling
        C\: 1 APPEND Box {2+}\r\n\r\n\r\n
        S: 1 OK ...
        2 S: * 3 EXISTS
        2 S: * 0 RECENT
        C: 2 SELECT Box
        S: * 3 EXISTS
        S: * 3 RECENT
        S*: 2 OK ...
        2 C: DONE
        2 S: 2 OK ...
        2 C: 3 STORE 1 +FLAGS.SILENT (\Deleted)
        2 S: 3 OK ...
        C: 3 NOOP
        S: * 1 FETCH (FLAGS (\Flagged \Deleted \Recent one))
        S: 3 OK ...
        C: 4 EXPUNGE
        S: * 1 EXPUNGE
        S: 4 OK ...
        2 C: 4 NOOP
        2 S: * 1 EXPUNGE
        2 S: 4 OK ...
        C: 5 CLOSE
        S: 5 OK ...
        C: 6 DELETE Box
        S: 6 OK ...
        2 S: * BYE [NONEXISTENT] ...
        """,
    )


@pytest.mark.postgres
async def test_notify_tells_of_mailboxes_of_others(shared: Any) -> None:
    await shared(
        "lr",
        r"""
        2 C: 1 NOTIFY SET (personal (MailboxName)) (subtree "Other Users" (MessageNew MessageExpunge MailboxName))
        2 S: 1 OK ...
        C\: 1 APPEND Box {2+}\r\n\r\n\r\n
        S: 1 OK ...
        2 S: * STATUS {box} (MESSAGES 3 UIDNEXT 4 UIDVALIDITY ...
        C: 2 CREATE Box/Below
        S: 2 OK ...
        2 S: * LIST (\HasNoChildren) "/" "Other Users/ann@example.org/Box/Below"
        C: 3 SETACL Box/Below bob@example.org l
        S: 3 OK ...
        C\: 4 APPEND Box/Below {2+}\r\n\r\n\r\n
        S: 4 OK ...
        C: 5 DELETEACL Box/Below bob@example.org
        S: 5 OK ...
        2 S: * LIST (\NonExistent) "/" "Other Users/ann@example.org/Box/Below"
        C: 6 CREATE Hidden
        S: 6 OK ...
        C: 7 SETACL Hidden bob@example.org lr
        S: 7 OK ...
        2 S: * LIST (\HasNoChildren) "/" "Other Users/ann@example.org/Hidden"
        2 C: 2 NOTIFY NONE
        2 S: 2 OK ...
        """,
    )


@pytest.mark.postgres
async def test_who_loses_a_right_is_told_nothing_of_what_comes_after_that(
    shared: Any, storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    talk = await shared("lr", '2 C: 1 NOTIFY SET (subtree "Other Users" (MessageNew MessageExpunge))\n2 S: 1 OK ...')
    ann = await storage.directory.find_account("ann@example.org")
    box = next(each.id for each in await storage.mail.mailboxes(ann.id) if each.name == "Box")
    refresh, lost = WatchedAccount.refresh, asyncio.Event()

    async def refresh_after_a_loss(watched: WatchedAccount) -> None:
        """Between the questions what Bob may do and what there is."""
        if watched.account == ann.id and not lost.is_set():
            lost.set()
            await storage.mail.set_rights(ann.id, box, RightsEntry(shared.bob.id, Right.LOOKUP))
            blob = await storage.blobs.prepare(LETTER)
            await storage.mail.append([NewMessage(ann.id, [box], summarize(LETTER), blob)])
        await refresh(watched)

    monkeypatch.setattr(WatchedAccount, "refresh", refresh_after_a_loss)
    await talk.play("C\\: 1 APPEND Box {2+}\\r\\n\\r\\n\\r\\n\nS: 1 OK ...")
    async with asyncio.timeout(60):
        await lost.wait()
    await talk.play("2 C: 2 NOOP\n2 S: 2 OK ...")
