"""Conversations about messages: APPEND, FETCH, STORE, SEARCH, COPY, MOVE, EXPUNGE, and what other sessions hear."""

import asyncio
from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK ...
"""
PLAIN = (
    "From: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: Hello there\r\n"
    "Date: Thu, 1 Feb 2024 10:20:30 +0000\r\nMessage-ID: <1@example.org>\r\nX-Colour: =?utf-8?q?gr=C3=BCn?=\r\n"
    "\r\nFirst line\r\nSecond line\r\n"
)
ANN, BOB = '("Ann" NIL "ann" "example.org")', '(NIL NIL "bob" "example.net")'
PARTS = (
    "From: bob@example.net\r\nSubject: Two parts\r\nMIME-Version: 1.0\r\n"
    'Content-Type: multipart/mixed; boundary="b"\r\n\r\npreamble\r\n'
    "--b\r\nContent-Type: text/plain\r\n\r\none\r\n"
    "--b\r\nContent-Type: message/rfc822\r\n\r\nSubject: Inner\r\n\r\ninner text\r\n"
    "--b--\r\n"
)


def append(tag: str, text: str, *, mailbox: str = "INBOX", more: str = "") -> str:
    """An APPEND with a non-synchronizing literal."""
    escaped = text.encode().decode("latin-1").encode("unicode_escape").decode()
    return f"C\\: {tag} APPEND {mailbox} {more}{{{len(text.encode())}+}}\\r\\n{escaped}\\r\\n\n"


def filled(count: int = 3, *, more: str = "") -> str:
    """A login and an inbox with messages that differ in their subject's number."""
    lines = [LOGIN]
    for number in range(1, count + 1):
        lines += [append(f"a{number}", PLAIN.replace("there", f"there {number}"), more=more), f"S: a{number} OK ...\n"]
    return "".join(lines) + "C: s SELECT INBOX\nS*: s OK ...\n"


async def test_append_with_flags_and_date_then_fetch(imap: Any) -> None:
    await imap.play(
        LOGIN
        + append("1", PLAIN, more='(\\\\Seen $Label) "01-Feb-2024 10:20:30 +0100" ')
        + r"""
        S: 1 OK [APPENDUID {validity} 1] APPEND completed
        C: 2 SELECT INBOX
        S: * 1 EXISTS
        S: * 1 RECENT
        S: * FLAGS (\Answered \Flagged \Deleted \Seen \Draft $label)
        S*: * OK [UIDVALIDITY {validity}] ...
        S: * OK [UIDNEXT 2] ...
        S*: 2 OK [READ-WRITE] ...
        C: 3 FETCH 1 (UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE)
        S: * 1 FETCH (UID 1 FLAGS (\Seen \Recent $label) INTERNALDATE {date} RFC822.SIZE {size} ENVELOPE ({envelope}))
        S: 3 OK FETCH completed
        C: 4 FETCH 1 (BODY BODYSTRUCTURE)
        S: * 1 FETCH (BODY ("text" "plain" ... 25 2) BODYSTRUCTURE ("text" "plain" ... 25 2 ...))
        S: 4 OK FETCH completed
        C: 5 FETCH 1 (EMAILID THREADID PREVIEW)
        S: * 1 FETCH (EMAILID (E{email}) THREADID (T{thread}) PREVIEW ...)
        S*: 5 OK FETCH completed
        C: 6 UID SEARCH EMAILID E{email}
        S: * SEARCH 1
        S: 6 OK SEARCH completed
        C: 7 SEARCH THREADID T{thread} SUBJECT hello
        S: * SEARCH 1
        S: 7 OK SEARCH completed
        C: 8 SEARCH EMAILID x
        S: * SEARCH
        S: 8 OK SEARCH completed
        C: 9 STATUS INBOX (MESSAGES UNSEEN SIZE)
        S: * STATUS "INBOX" (MESSAGES 1 UNSEEN 0 SIZE {size})
        S: 9 OK STATUS completed
        """,
        size=len(PLAIN),
        date='"01-Feb-2024 09:20:30 +0000"',
        envelope=f'"Thu, 1 Feb 2024 10:20:30 +0000" "Hello there" ({ANN}) ({ANN}) ({ANN}) ({BOB}) '
        'NIL NIL NIL "<1@example.org>"',
    )


async def test_body_sections_and_seen(imap: Any) -> None:
    await imap.play(
        LOGIN
        + append("1", PLAIN)
        + "S: 1 OK ...\n"
        + append("2", PARTS)
        + r"""
        S: 2 OK ...
        C: s SELECT INBOX
        S*: s OK ...
        C: 3 FETCH 1 BODY.PEEK[]<6.3>
        S: * 1 FETCH (BODY[]<6> {3}
        S: Ann)
        S: 3 OK FETCH completed
        C: 4 FETCH 1 BODY[TEXT]
        S: * 1 FETCH (BODY[TEXT] {25}
        S: First line
        S: Second line
        S: ) FLAGS (\Seen \Recent))
        """.replace("        S: ) FLAGS", "        S:  FLAGS")
        + r"""
        S: 4 OK FETCH completed
        C: 5 FETCH 1 BODY[1]<6.4>
        S: * 1 FETCH (BODY[1]<6> {4}
        S: line)
        S: 5 OK FETCH completed
        C: 6 FETCH 1 BODY[HEADER.FIELDS (subject X-Colour)]
        S: * 1 FETCH (BODY[HEADER.FIELDS (subject X-Colour)] {57}
        S: Subject: Hello there
        S: X-Colour: =?utf-8?q?gr=C3=BCn?=
        S:
        S: )
        S: 6 OK FETCH completed
        C: 7 FETCH 1 BODY.PEEK[HEADER.FIELDS (Subject)]
        S: * 1 FETCH (BODY[HEADER.FIELDS (Subject)] {24}
        S: Subject: Hello there
        S:
        S: )
        S: 7 OK FETCH completed
        C: 8 FETCH 1 BODY.PEEK[HEADER.FIELDS.NOT (From To Subject Date X-Colour)]
        S: * 1 FETCH (BODY[HEADER.FIELDS.NOT (From To Subject Date X-Colour)] {31}
        S: Message-ID: <1@example.org>
        S:
        S: )
        S: 8 OK FETCH completed
        C: 9 FETCH 2 (BODY.PEEK[1] BODY.PEEK[2.MIME] BODY.PEEK[2.HEADER] BODY.PEEK[2.TEXT] {more})
        S: * 2 FETCH (BODY[1] {3}
        S: one BODY[2.MIME] {32}
        S: Content-Type: message/rfc822
        S:
        S:  BODY[2.HEADER] {18}
        S: Subject: Inner
        S:
        S:  BODY[2.TEXT] {10}
        S: inner text BODY[2.1] {10}
        S: inner text BODY[3] NIL BODY[1.HEADER] NIL)
        S: 9 OK FETCH completed
        C: 10 FETCH 1 BODY.PEEK[]<99999.10>
        S: * 1 FETCH (BODY[]<99999> {0}
        S: )
        S: 10 OK FETCH completed
        C: 11 EXAMINE INBOX
        S*: 11 OK ...
        C: 12 FETCH 2 RFC822.HEADER
        S*: 12 OK FETCH completed
        C: 13 FETCH 2 (BODY[1] FLAGS)
        S: * 2 FETCH (BODY[1] {3}
        S: one FLAGS ())
        S: 13 OK FETCH completed
        """,
        more="BODY.PEEK[2.1] BODY.PEEK[3] BODY.PEEK[1.HEADER]",
    )


async def test_storing_flags(imap: Any) -> None:
    await imap.play(
        filled()
        + r"""
        C: 1 STORE 1:2 +FLAGS (\Deleted Junk)
        S: * 1 FETCH (FLAGS (\Deleted \Recent junk))
        S: * 2 FETCH (FLAGS (\Deleted \Recent junk))
        S: 1 OK STORE completed
        C: 2 STORE 1 -FLAGS.SILENT \Deleted
        S: 2 OK STORE completed
        C: 3 UID STORE 1 FLAGS (\Flagged)
        S: * 1 FETCH (UID 1 FLAGS (\Flagged \Recent))
        S: 3 OK STORE completed
        C: 4 STORE 1 +FLAGS \Flagged
        S: * 1 FETCH (FLAGS (\Flagged \Recent))
        S: 4 OK STORE completed
        C: 5 UID STORE 99 +FLAGS \Seen
        S: 5 OK STORE completed
        C: 6 STORE 9 +FLAGS \Seen
        S: 6 BAD STORE: sequence number not in use
        C: 7 SEARCH KEYWORD JUNK
        S: * SEARCH 2
        S: 7 OK ...
        C: 8 EXPUNGE
        S: * 2 EXPUNGE
        S: 8 OK EXPUNGE completed
        C: 9 FETCH 1:* (UID FLAGS)
        S: * 1 FETCH (UID 1 FLAGS (\Flagged \Recent))
        S: * 2 FETCH (UID 3 FLAGS (\Recent))
        S: 9 OK FETCH completed
        C: 10 EXAMINE INBOX
        S*: 10 OK ...
        C: 11 STORE 1 FLAGS ()
        S: 11 NO The mailbox is selected read-only
        C: 12 MOVE 1 Trash
        S: 12 NO The mailbox is selected read-only
        """
    )


async def test_uid_expunge_and_close(imap: Any) -> None:
    await imap.play(
        filled()
        + r"""
        C: 1 STORE 1:3 +FLAGS.SILENT \Deleted
        S: 1 OK ...
        C: 2 UID EXPUNGE 2,7
        S: * 2 EXPUNGE
        S: 2 OK EXPUNGE completed
        C: 3 UNSELECT
        S: 3 OK UNSELECT completed
        C: 4 STATUS INBOX (MESSAGES DELETED)
        S: * STATUS "INBOX" (MESSAGES 2 DELETED 2)
        S: 4 OK ...
        C: 5 SELECT INBOX
        S: * 2 EXISTS
        S: * 0 RECENT
        S*: 5 OK ...
        C: 6 CLOSE
        S: 6 OK CLOSE completed
        C: 7 STATUS INBOX (MESSAGES UIDNEXT)
        S: * STATUS "INBOX" (MESSAGES 0 UIDNEXT 4)
        S: 7 OK ...
        """
    )


async def test_copy_and_move(imap: Any) -> None:
    await imap.play(
        filled()
        + r"""
        C: 1 COPY 1:2 Archive
        S: 1 OK [COPYUID {archive} 1:2 1:2] COPY completed
        C: 2 COPY 1 nothing
        S: 2 NO [TRYCREATE] ...
        C: 3 UID COPY 99 Archive
        S: 3 OK COPY completed, nothing to do
        C: 4 COPY 3 Archive
        S: 4 OK [COPYUID {archive} 3 3] COPY completed
        C: 5 COPY 3 Archive
        S: 5 OK [COPYUID {archive} 3 4] COPY completed
        C: 6 MOVE 2 Trash
        S: * OK [COPYUID {trash} 2 1] Moved
        S: * 2 EXPUNGE
        S: 6 OK MOVE completed
        C: 7 COPY 1 INBOX
        S: * 3 EXISTS
        S: * 3 RECENT
        S: 7 OK [COPYUID {inbox} 1 4] COPY completed
        C: 8 UID MOVE 4 nothing
        S: 8 NO [TRYCREATE] ...
        C: 9 APPEND nothing {1}
        S: + ...
        C: x
        S: 9 NO [TRYCREATE] ...
        C: 10 STATUS Archive (MESSAGES)
        S: * STATUS "Archive" (MESSAGES 4)
        S: 10 OK ...
        C: 11 RENAME INBOX old
        S*: 11 OK RENAME completed
        C: 12 STATUS old (MESSAGES)
        S: * STATUS "old" (MESSAGES 3)
        S*: 12 OK ...
        """
    )


async def test_searching(imap: Any) -> None:
    await imap.play(
        filled(4)
        + r"""
        C: 0 STORE 2 +FLAGS.SILENT (\Seen \Flagged)
        S: 0 OK ...
        C: 1 SEARCH UNSEEN
        S: * SEARCH 1 3 4
        S: 1 OK SEARCH completed
        C: 2 SEARCH SUBJECT "THERE 3"
        S: * SEARCH 3
        S: 2 OK ...
        C: 3 SEARCH OR FLAGGED SUBJECT "there 4" NOT 1
        S: * SEARCH 2 4
        S: 3 OK ...
        C: 4 SEARCH FROM ann TO bob BODY second SENTON 1-Feb-2024 SENTBEFORE 2-Feb-2024 SMALLER 9999 LARGER 10
        S: * SEARCH 1 2 3 4
        S: 4 OK ...
        C: 5 SEARCH SENTSINCE 2-Feb-2024
        S: * SEARCH
        S: 5 OK ...
        C: 6 SEARCH SINCE 1-Jan-2020 YOUNGER 3600 NOT OLDER 3600 2:3
        S: * SEARCH 2 3
        S: 6 OK ...
        C: 7 SEARCH HEADER X-Colour gr HEADER Message-ID 1@ UID 1:2
        S: * SEARCH 1 2
        S: 7 OK ...
        C: 8 SEARCH HEADER X-Colour blue
        S: * SEARCH
        S: 8 OK ...
        C: 9 SEARCH NOT HEADER X-Missing "" 4
        S: * SEARCH 4
        S: 9 OK ...
        C: 10 UID SEARCH RETURN (MIN MAX COUNT ALL) 2:*
        S: * ESEARCH (TAG "10") UID MIN 2 MAX 4 ALL 2:4 COUNT 3
        S: 10 OK ...
        C: 11 SEARCH RETURN (COUNT) DRAFT
        S: * ESEARCH (TAG "11") COUNT 0
        S: 11 OK ...
        C: 12 SEARCH RETURN (SAVE) SEEN
        S: 12 OK ...
        C: 13 FETCH $ FLAGS
        S: * 2 FETCH (FLAGS (\Flagged \Seen \Recent))
        S: 13 OK ...
        C: 14 SEARCH RETURN (SAVE MIN) ALL
        S: * ESEARCH (TAG "14") MIN 1
        S: 14 OK ...
        C: 15 UID SEARCH $
        S: * SEARCH 1
        S: 15 OK ...
        C: 16 SEARCH CHARSET X-KLINGON ALL
        S: 16 NO [BADCHARSET (UTF-8 US-ASCII ISO-8859-1 ISO-8859-15)] ...
        C: 17 SEARCH RECENT NEW OLD
        S: * SEARCH
        S: 17 OK ...
        C: 18 SEARCH BODY nowhere
        S: * SEARCH
        S: 18 OK ...
        """
    )


async def test_other_sessions_hear_of_everything(imap: Any) -> None:
    """EXPUNGE waits while the client speaks of sequence numbers; NOOP and IDLE bring everything."""
    await imap.play(
        filled()
        + "2 "
        + filled(0).strip().replace("\n", "\n2 ")
        + r"""
        2 C: 1 FETCH 1:3 UID
        2 S: * 1 FETCH (UID 1)
        2 S: * 2 FETCH (UID 2)
        2 S: * 3 FETCH (UID 3)
        2 S: 1 OK ...
        C: 1 STORE 1 +FLAGS.SILENT \Deleted
        S: 1 OK ...
        C: 2 EXPUNGE
        S: * 1 EXPUNGE
        S: 2 OK ...
        2 C: 2 FETCH 3 UID
        2 S: * 3 FETCH (UID 3)
        2 S: 2 OK ...
        2 C: 3 FETCH 1 FLAGS
        2 S: 3 NO [EXPUNGEISSUED] ...
        2 C: 4 NOOP
        2 S: * 1 EXPUNGE
        2 S: 4 OK NOOP completed
        2 C: 5 IDLE
        2 S: + idling
        C: 3 STORE 1 +FLAGS.SILENT \Flagged
        S: 3 OK ...
        2 S: * 1 FETCH (FLAGS (\Flagged))
        """
        + append("4", PLAIN)
        + r"""
        S: * 3 EXISTS
        S: * 3 RECENT
        S: 4 OK ...
        2 S: * 3 EXISTS
        2 S: * 1 RECENT
        C: 5 UID MOVE 2 Trash
        S: * OK [COPYUID ...] Moved
        S: * 1 EXPUNGE
        S: 5 OK ...
        2 S: * 1 EXPUNGE
        2 C: DONE
        2 S: 5 OK IDLE completed
        """
    )


async def test_condstore(imap: Any) -> None:
    await imap.play(
        filled()
        + r"""
        C: 1 FETCH 1:3 (MODSEQ)
        S: * OK [HIGHESTMODSEQ {highest}] ...
        S: * 1 FETCH (MODSEQ ({one}))
        S: * 2 FETCH (MODSEQ ({two}))
        S: * 3 FETCH (MODSEQ ({three}))
        S: 1 OK ...
        C: 2 STORE 2 (UNCHANGEDSINCE {two}) +FLAGS.SILENT \Seen
        S: * 2 FETCH (MODSEQ ({changed}))
        S: 2 OK STORE completed
        C: 3 STORE 1:2 (UNCHANGEDSINCE {three}) +FLAGS \Flagged
        S: * 1 FETCH (FLAGS (\Flagged \Recent) MODSEQ ({flagged}))
        S: 3 OK [MODIFIED 2] Some had changed
        C: 4 FETCH 1:* (FLAGS) (CHANGEDSINCE {three})
        S: * 1 FETCH (FLAGS (\Flagged \Recent) MODSEQ ({flagged}))
        S: * 2 FETCH (FLAGS (\Seen \Recent) MODSEQ ({changed}))
        S: 4 OK ...
        C: 5 SEARCH MODSEQ {changed}
        S: * SEARCH 1 2 (MODSEQ {flagged})
        S: 5 OK ...
        C: 6 STATUS INBOX (HIGHESTMODSEQ)
        S: * STATUS "INBOX" (HIGHESTMODSEQ {flagged})
        S: 6 OK ...
        C: 7 SEARCH RETURN (COUNT) MODSEQ {changed}
        S: * ESEARCH (TAG "7") COUNT 2 MODSEQ {flagged}
        S: 7 OK ...
        C: 8 SEARCH RETURN (MAX) MODSEQ {changed}
        S: * ESEARCH (TAG "8") MAX 2 MODSEQ {changed}
        S: 8 OK ...
        C: 9 SEARCH RETURN (MIN MAX) MODSEQ {changed}
        S: * ESEARCH (TAG "9") MIN 1 MAX 2 MODSEQ {flagged}
        S: 9 OK ...
        C: 10 SEARCH RETURN (PARTIAL 2:2) MODSEQ {changed}
        S: * ESEARCH (TAG "10") PARTIAL (2:2 2) MODSEQ {changed}
        S: 10 OK ...
        """
    )


async def test_qresync(imap: Any) -> None:
    await imap.play(
        filled(4)
        + r"""
        C: 1 SELECT INBOX (QRESYNC (1 1))
        S: * OK [CLOSED] ...
        S: 1 BAD ENABLE QRESYNC first
        C: 2 ENABLE QRESYNC
        S: * ENABLED CONDSTORE QRESYNC
        S: 2 OK ...
        C: 3 SELECT INBOX
        S*: * OK [UIDVALIDITY {validity}] ...
        S*: * OK [HIGHESTMODSEQ {before}] ...
        S*: 3 OK ...
        C: 4 UID STORE 2 +FLAGS.SILENT \Deleted
        S: * 2 FETCH (UID 2 MODSEQ ({deleted}))
        S: 4 OK ...
        C: 5 EXPUNGE
        S: * VANISHED 2
        S: 5 OK [HIGHESTMODSEQ {after}] EXPUNGE completed
        C: 6 UID STORE 4 +FLAGS.SILENT \Seen
        S: * 3 FETCH (UID 4 MODSEQ ({seen}))
        S: 6 OK ...
        C: 7 SELECT INBOX (QRESYNC ({validity} {before}))
        S: * OK [CLOSED] ...
        S: * 3 EXISTS
        S*: * VANISHED (EARLIER) 2
        S: * 3 FETCH (UID 4 FLAGS (\Seen) MODSEQ ({seen}))
        S: 7 OK ...
        C: 8 SELECT INBOX (QRESYNC ({validity} {before} 1,3))
        S: * OK [CLOSED] ...
        S*: * OK [MAILBOXID (...)] Id
        S: * OK [UNSEEN 1] ...
        S: 8 OK ...
        C: 9 UID FETCH 1:* (FLAGS) (CHANGEDSINCE {before} VANISHED)
        S: * VANISHED (EARLIER) 2
        S: * 3 FETCH (UID 4 FLAGS (\Seen) MODSEQ ({seen}))
        S: 9 OK ...
        C: 10 MOVE 1 Trash
        S: * OK [COPYUID ...] Moved
        S: * VANISHED 1
        S: 10 OK ...
        """
    )


async def test_what_arrives_while_selected_is_recent_only_once(imap: Any) -> None:
    await imap.play(
        filled(1)
        + append("1", PLAIN)
        + r"""
        S: * 2 EXISTS
        S: * 2 RECENT
        S: 1 OK ...
        C: 2 SEARCH NEW
        S: * SEARCH 1 2
        S: 2 OK ...
        C: 3 SELECT INBOX
        S: * OK [CLOSED] ...
        S: * 2 EXISTS
        S: * 0 RECENT
        S*: 3 OK ...
        """
    )


async def test_many_messages_stream_in_order(imap: Any) -> None:
    script = filled(40) + "C: 1 UID FETCH 1:* (RFC822.SIZE BODY.PEEK[HEADER.FIELDS (SUBJECT)] BODY.PEEK[TEXT])\n"
    for number in range(1, 41):
        script += f"S*: * {number} FETCH (UID {number} RFC822.SIZE ...\nS: Subject: Hello there {number}\n"
    conversation = await imap.play(script + "S*: 1 OK FETCH completed\n")
    await conversation.play("C: 2 NOOP\nS: 2 OK NOOP completed")


async def test_a_client_that_does_not_read_holds_little_and_nobody_up(imap: Any) -> None:
    body = b"Subject: large\r\n\r\n" + b"0123456789abcdef" * 65536 * 4
    host, port = imap.address()
    reader, writer = await asyncio.open_connection(host, port, limit=1 << 16)
    writer.write(b"l LOGIN ann@example.org secret\r\na APPEND INBOX {%d+}\r\n" % len(body) + body + b"\r\n")
    writer.write(b"s SELECT INBOX\r\n" + b"f FETCH 1 BODY.PEEK[]\r\n" * 20 + b"o LOGOUT\r\n")
    async with asyncio.timeout(60):
        while imap.parts.body_memory.used == 0:  # noqa: ASYNC110 (nothing tells of it)
            await asyncio.sleep(0.01)
    assert imap.parts.body_memory.used == len(body)
    await imap.play(LOGIN + "C: 1 SELECT INBOX\nS*: 1 OK ...\nC: 2 FETCH 1 BODY.PEEK[]<0.14>\nS*: 2 OK ...")
    async with asyncio.timeout(60):  # the client has not read what it asked for; between two messages nothing is held
        while imap.parts.body_memory.used != len(body):  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    found = 0
    while piece := await reader.read(1 << 16):
        found += len(piece)
    assert found > 20 * len(body)
    assert imap.parts.body_memory.used == 0
    writer.close()
