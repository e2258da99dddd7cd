"""Conversations that store messages: several at once (RFC 3502), and one in place of another (RFC 8508)."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S: l OK [CAPABILITY ... MULTIAPPEND CATENATE REPLACE ...
"""
FILLED = (
    LOGIN
    + r"""
C\: f APPEND INBOX (\\Seen) {12+}\r\nSubject: a\r\n {12+}\r\nSubject: b\r\n {12+}\r\nSubject: c\r\n\r\n
S: f OK [APPENDUID {validity} 1:3] APPEND completed
C: s SELECT INBOX
S*: * OK [UIDNEXT 4] ...
S*: s OK ...
"""
)


async def test_several_messages_are_stored_in_their_order_with_their_own_flags(imap: Any) -> None:
    await imap.play(
        FILLED
        + r"""
        C: 1 FETCH 1:* (FLAGS BODY.PEEK[HEADER.FIELDS (SUBJECT)])
        S: * 1 FETCH (FLAGS (\Seen \Recent) BODY[HEADER.FIELDS (SUBJECT)] {...
        S: Subject: a
        S*: * 2 FETCH (FLAGS (\Recent) BODY[HEADER.FIELDS (SUBJECT)] {...
        S: Subject: b
        S*: * 3 FETCH (FLAGS (\Recent) BODY[HEADER.FIELDS (SUBJECT)] {...
        S*: 1 OK ...
        """
    )


async def test_of_several_messages_all_are_stored_or_none(imap_server: Any, account: Any) -> None:
    await account("ann@example.org", password="secret", quota=20)
    server = await imap_server(append_limit=65536)
    await server.play(
        LOGIN
        + r"""
        C\: 1 APPEND INBOX {12+}\r\nSubject: a\r\n {12+}\r\nSubject: b\r\n\r\n
        S: 1 NO [OVERQUOTA] ...
        C\: 2 APPEND INBOX {12+}\r\nSubject: a\r\n {0+}\r\n\r\n
        S: 2 NO An empty message cannot be stored
        C\: 3 APPEND INBOX {12+}\r\nSubject: a\r\n {65537}\r\n
        S: 3 NO [TOOBIG] ...
        C\: 4 APPEND INBOX {12+}\r\nSubject: a\r\n ({1+}\r\nx\r\n
        S: 4 BAD ...
        C\: 5 APPEND Nowhere {1+}\r\na {1+}\r\nb\r\n
        S: 5 NO [TRYCREATE] ...
        C: 6 STATUS INBOX (MESSAGES UIDNEXT)
        S: * STATUS "INBOX" (MESSAGES 0 UIDNEXT 1)
        S: 6 OK ...
        """
    )
    assert server.parts.append_memory.used == 0


async def test_a_message_takes_the_place_of_another(imap: Any) -> None:
    await imap.play(
        FILLED
        + r"""
        2 S: * OK ...
        2 C: l LOGIN ann@example.org secret
        2 S: l OK ...
        2 C: s SELECT INBOX
        2 S*: s OK ...
        C\: 1 REPLACE 2 INBOX (\\Draft) {12+}\r\nSubject: B\r\n\r\n
        S: * OK [APPENDUID {validity} 4] Replaced
        S: * 2 EXPUNGE
        S: * 3 EXISTS
        S*: 1 OK REPLACE completed
        2 C: 2 NOOP
        2 S: * 2 EXPUNGE
        2 S: * 3 EXISTS
        2 S*: 2 OK ...
        C\: 3 UID REPLACE 4 INBOX {12+}\r\nSubject: B\r\n\r\n
        S: * OK [APPENDUID {validity} 5] Replaced
        S: * 3 EXPUNGE
        S: * 3 EXISTS
        S*: 3 OK REPLACE completed
        C: 4 UID FETCH 1:* (FLAGS BODY.PEEK[])
        S: * 1 FETCH (UID 1 ...
        S*: * 2 FETCH (UID 3 ...
        S*: * 3 FETCH (UID 5 FLAGS (\Recent) BODY[] {12}
        S: Subject: B
        S: )
        S: 4 OK ...
        C: 5 CREATE Other
        S: 5 OK ...
        C\: 6 UID REPLACE 1 Other {12+}\r\nSubject: A\r\n\r\n
        S: * OK [APPENDUID {other} 1] Replaced
        S: * 1 EXPUNGE
        S: 6 OK REPLACE completed
        C: 7 STATUS Other (MESSAGES SIZE)
        S: * STATUS "Other" (MESSAGES 1 SIZE 12)
        S: 7 OK ...
        """
    )


async def test_what_cannot_be_replaced_stays(imap: Any) -> None:
    await imap.play(
        FILLED
        + r"""
        C\: 1 REPLACE 4 INBOX {1+}\r\na\r\n
        S: 1 BAD ...
        C\: 2 UID REPLACE 9 INBOX {1+}\r\na\r\n
        S: 2 NO [EXPUNGEISSUED] ...
        C\: 3 REPLACE 1 Nowhere {1+}\r\na\r\n
        S: 3 NO [TRYCREATE] ...
        C\: 4 REPLACE 1 INBOX {0+}\r\n\r\n
        S: 4 NO ...
        C\: 5 REPLACE 1:2 INBOX {1+}\r\na\r\n
        S: 5 BAD ...
        C: 6 EXAMINE INBOX
        S*: 6 OK ...
        C\: 7 REPLACE 1 INBOX {1+}\r\na\r\n
        S: 7 NO The mailbox is selected read-only
        C: 8 STATUS INBOX (MESSAGES UIDNEXT)
        S: * STATUS "INBOX" (MESSAGES 3 UIDNEXT 4)
        S: 8 OK ...
        """
    )


async def test_of_two_sessions_that_replace_a_message_one_finds_it_gone_and_stores_nothing(imap: Any) -> None:
    played = await imap.play(
        FILLED
        + r"""
        2 S: * OK ...
        2 C: l LOGIN ann@example.org secret
        2 S: l OK ...
        2 C: s SELECT INBOX
        2 S*: s OK ...
        C\: 1 UID REPLACE 2 INBOX {1+}\r\na\r\n
        2 C\: 1 UID REPLACE 2 INBOX {1+}\r\na\r\n
        S*: 1 {first} ...
        2 S*: 1 {second} ...
        C: 2 STATUS INBOX (MESSAGES UIDNEXT)
        S*: * STATUS "INBOX" (MESSAGES 3 UIDNEXT 5)
        S: 2 OK ...
        """
    )
    assert sorted([played.variables["first"], played.variables["second"]]) == ["NO", "OK"]
