"""Conversations with a server that limits how many messages one command may be about (RFC 9738)."""

from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from pydantic import ValidationError

from posthorn_imap.settings import SessionLimits

pytestmark = pytest.mark.postgres


def filled(capability: str, count: int = 5) -> str:
    """A login, an inbox with as many messages, and another mailbox."""
    letter = "C\\: a APPEND INBOX {15+}\\r\\nSubject: x\\r\\n\\r\\ny\\r\\n\nS: a OK ...\n"
    return (
        f"S: * OK ...\nC: l LOGIN ann@example.org secret\nS: l OK [CAPABILITY ... {capability}] ...\n"
        + letter * count
        + "C: m CREATE other\nS: m OK ...\nC: s SELECT INBOX\nS*: s OK ...\n"
    )


FILLED = filled("MESSAGELIMIT=2")


@pytest.fixture
async def limited(imap_server: Any, account: Callable[..., Coroutine[Any, Any, Any]]) -> Any:
    """A service with two messages in one command."""
    await account("ann@example.org", password="secret")
    return await imap_server(limits=SessionLimits(messages=2))


async def test_fetch_begins_at_the_end(limited: Any) -> None:
    await limited.play(
        FILLED
        + """
        C: 1 FETCH 1:* (UID)
        S: * 5 FETCH (UID 5)
        S: * 4 FETCH (UID 4)
        S: 1 OK [MESSAGELIMIT 2 4] FETCH completed
        C: 2 UID FETCH 1:3 (RFC822.SIZE)
        S: * 3 FETCH (UID 3 RFC822.SIZE 15)
        S: * 2 FETCH (UID 2 RFC822.SIZE 15)
        S: 2 OK [MESSAGELIMIT 2 2] FETCH completed
        C: 3 UID FETCH 1:4 (BODY.PEEK[TEXT])
        S: * 4 FETCH (UID 4 BODY[TEXT] {1}
        S: y)
        S: * 3 FETCH (UID 3 BODY[TEXT] {1}
        S: y)
        S: 3 OK [MESSAGELIMIT 2 3] FETCH completed
        C: 4 UID FETCH 1:2 (UID)
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 2)
        S: 4 OK FETCH completed
        C: 5 UID FETCH 1:* (UID) (PARTIAL -1:-3)
        S: 5 NO [MESSAGELIMIT 2] Too many messages: at most 2 in one command
        C: 6 UID FETCH 1:* (UID) (PARTIAL 2:3)
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: 6 OK FETCH completed
        """
    )


async def test_store_begins_at_the_end(limited: Any) -> None:
    await limited.play(
        FILLED
        + """
        C: 1 STORE 1:4 +FLAGS (\\Flagged)
        S: * 4 FETCH (FLAGS (...\\Flagged...))
        S: * 3 FETCH (FLAGS (...\\Flagged...))
        S: 1 OK [MESSAGELIMIT 2 3] STORE completed
        C: 2 UID SEARCH RETURN (COUNT) 2:3 FLAGGED
        S: * ESEARCH (TAG "2") UID COUNT 1
        S: 2 OK SEARCH completed
        C: 3 STORE 1:4 (UNCHANGEDSINCE 1) -FLAGS (\\Flagged)
        S*: * NO [MESSAGELIMIT 2 3] ...
        S*: 3 OK [MODIFIED 3:4] ...
        """
    )


async def test_a_search_looks_at_the_last(limited: Any) -> None:
    await limited.play(
        FILLED
        + """
        C: 1 SEARCH ALL
        S: * SEARCH 5 4
        S: 1 OK [MESSAGELIMIT 2 4] SEARCH completed
        C: 2 UID SEARCH RETURN (SAVE ALL) SUBJECT x
        S: * ESEARCH (TAG "2") UID ALL 4:5
        S: 2 OK [MESSAGELIMIT 2 4] SEARCH completed
        C: 3 SEARCH $
        S: * SEARCH 4 5
        S: 3 OK SEARCH completed
        C: 4 UID SEARCH UIDBEFORE 4
        S: * SEARCH 3 2
        S: 4 OK [MESSAGELIMIT 2 2] SEARCH completed
        C: 5 UID SEARCH UIDBEFORE 4 (UIDAFTER 1 SUBJECT x)
        S: * SEARCH 2 3
        S: 5 OK SEARCH completed
        # What needs not be true of every match does not narrow what is looked at.
        C: 6 UID SEARCH OR UIDBEFORE 2 SEEN
        S: * SEARCH
        S: 6 OK [MESSAGELIMIT 2 4] SEARCH completed
        C: 7 SEARCH RETURN (COUNT UPDATE) ALL
        S: * ESEARCH (TAG "7") COUNT 2
        S: * NO [NOUPDATE "7"] Too many messages
        S: 7 OK [MESSAGELIMIT 2 4] SEARCH completed
        C: 8 UID SORT (DATE) UTF-8 ALL
        S: 8 NO [MESSAGELIMIT 2] ...
        C: 9 THREAD REFERENCES UTF-8 UIDAFTER 2
        S: 9 NO [MESSAGELIMIT 2] ...
        C: 10 THREAD ORDEREDSUBJECT UTF-8 UIDAFTER 3
        S: * THREAD (4 5)
        S: 10 OK THREAD completed
        C: 11 ESEARCH IN (personal) RETURN (COUNT) ALL
        S: 11 NO [MESSAGELIMIT 2] ...
        C: 12 ESEARCH IN (personal) RETURN (COUNT) UIDAFTER 4
        S: * ESEARCH (TAG "12" MAILBOX "INBOX" UIDVALIDITY ...) UID COUNT 1
        S: 12 OK ESEARCH completed
        """
    )


async def test_what_is_saved_is_saved_wholly(limited: Any) -> None:
    await limited.play(
        FILLED
        + """
        C: 1 COPY 1:3 other
        S: 1 NO [MESSAGELIMIT 2 2] ...
        C\\: 2 APPEND other {1+}\\r\\nx {1+}\\r\\ny {1+}\\r\\nz\\r\\n
        S: 2 NO [MESSAGELIMIT 2] ...
        C: 3 STATUS other (MESSAGES)
        S: * STATUS "other" (MESSAGES 0)
        S: 3 OK ...
        C: 4 MOVE 1:4 other
        S: * OK [COPYUID {validity} 3:4 1:2] Moved
        S: * 4 EXPUNGE
        S: * 3 EXPUNGE
        S: 4 OK [MESSAGELIMIT 2 3] MOVE completed
        C: 5 UID COPY 1:2 other
        S: 5 OK [COPYUID {validity} 1:2 3:4] COPY completed
        """
    )


async def test_expunges_of_named_messages_alone_are_limited(limited: Any) -> None:
    await limited.play(
        FILLED
        + """
        C: 1 STORE 4:5 +FLAGS.SILENT (\\Deleted)
        S: 1 OK STORE completed
        C: 2 STORE 1:2 +FLAGS.SILENT (\\Deleted)
        S: 2 OK STORE completed
        C: 3 ENABLE QRESYNC
        S*: 3 OK ...
        C: 4 UID EXPUNGE 1:4
        S: * NO [MESSAGELIMIT 2 2] ...
        S: * VANISHED 2,4
        S: 4 OK [HIGHESTMODSEQ ...] EXPUNGE completed
        C: 5 STORE 2 +FLAGS.SILENT (\\Deleted)
        S*: 5 OK STORE completed
        C: 6 EXPUNGE
        S: * VANISHED 1,3,5
        S: 6 OK [HIGHESTMODSEQ ...] EXPUNGE completed
        """
    )


async def test_where_saving_alone_is_limited(
    imap_server: Any, account: Callable[..., Coroutine[Any, Any, Any]]
) -> None:
    await account("ann@example.org", password="secret")
    server = await imap_server(limits=SessionLimits(saved_messages=2))
    await server.play(
        filled("SAVELIMIT=2", 3)
        + """
        C: 1 FETCH 1:* (UID)
        S: * 1 FETCH (UID 1)
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: 1 OK FETCH completed
        C: 2 COPY 1:* other
        S: 2 NO [MESSAGELIMIT 2 2] ...
        C: 3 MOVE 1:* other
        S*: 3 OK MOVE completed
        """
    )


async def test_no_limit_is_no_capability(imap: Any) -> None:
    await imap.play(
        filled("{rest}", 3)
        + """
        C: 1 CAPABILITY
        S!: ...LIMIT=2...
        S: 1 OK ...
        C: 2 UID SEARCH UIDAFTER 1 UIDBEFORE 3
        S: * SEARCH 2
        S: 2 OK SEARCH completed
        # Unlike the set 9:*, which names the last message in any case.
        C: 3 UID SEARCH UIDAFTER 8
        S: * SEARCH
        S: 3 OK SEARCH completed
        C: 4 UID SEARCH OR UIDAFTER 4294967295 UIDBEFORE 1
        S: * SEARCH
        S: 4 OK SEARCH completed
        C: 5 UID SEARCH UIDAFTER 0
        S: 5 BAD ...
        C: 6 UID SEARCH UIDBEFORE 1:2
        S: 6 BAD ...
        """
    )


def test_one_of_the_two_limits_is_set() -> None:
    with pytest.raises(ValidationError, match="set one of the two"):
        SessionLimits(messages=1000, saved_messages=1000)
