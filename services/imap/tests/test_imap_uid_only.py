"""Conversations without sequence numbers (RFC 9586)."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = "S: * OK ...\nC: l LOGIN ann@example.org secret\nS: l OK [CAPABILITY ... UIDONLY ...\n"
FILLED = (
    LOGIN
    + "".join("C\\: a APPEND INBOX {15+}\\r\\nSubject: x\\r\\n\\r\\ny\\r\\n\nS: a OK ...\n" for _ in range(3))
    + "C: s SELECT INBOX\nS*: s OK ...\n"
)
ENABLED = "C: e ENABLE UIDONLY\nS: * ENABLED UIDONLY\nS: e OK ...\n"


async def test_messages_are_told_of_by_their_uids(imap: Any) -> None:
    await imap.play(
        FILLED
        + ENABLED
        + """
        C: 1 UID FETCH 2:3 (FLAGS)
        S: * 2 UIDFETCH (FLAGS (...
        S: * 3 UIDFETCH (FLAGS (...
        S: 1 OK ...
        C: 2 UID FETCH 2 (UID RFC822.SIZE)
        S: * 2 UIDFETCH (UID 2 RFC822.SIZE 15)
        S: 2 OK ...
        C: 3 UID FETCH 3 (BODY[TEXT])
        S: * 3 UIDFETCH (BODY[TEXT] {1}
        S: y FLAGS (...\\Seen...))
        S: 3 OK ...
        C: 4 UID STORE 1:2 +FLAGS (\\Deleted)
        S: * 1 UIDFETCH (FLAGS (...\\Deleted...))
        S: * 2 UIDFETCH (FLAGS (...\\Deleted...))
        S: 4 OK ...
        C: 5 UID EXPUNGE 1
        S: * VANISHED 1
        S: 5 OK ...
        C: 6 UID FETCH 3 (FLAGS)
        S: * 3 UIDFETCH (FLAGS (...
        S: 6 OK ...
        C: 7 EXPUNGE
        S: * VANISHED 2
        S: 7 OK ...
        C: 8 UID SEARCH RETURN (SAVE) ALL
        S: 8 OK ...
        C: 9 UID SEARCH RETURN (COUNT) $
        S: * ESEARCH (TAG "9") UID COUNT 1
        S: 9 OK ...
        """
    )


async def test_sequence_numbers_are_refused(imap: Any) -> None:
    refused = "".join(
        f"C: r {command}\nS: r BAD [UIDREQUIRED] ...\n"
        for command in (
            "FETCH 1 FLAGS",
            "STORE 1 +FLAGS (\\Seen)",
            "COPY 1 INBOX",
            "MOVE 1 INBOX",
            "SEARCH ALL",
            "SORT (DATE) UTF-8 ALL",
            "THREAD REFERENCES UTF-8 ALL",
            "UID SEARCH NOT (SEEN 1:2)",
            "UID SORT (DATE) UTF-8 1:*",
            "ESEARCH IN (selected) 1",
        )
    )
    await imap.play(FILLED + ENABLED + refused + "C: n NOOP\nS: n OK ...\n")


async def test_changes_elsewhere_are_told_by_uids(imap: Any) -> None:
    await imap.play(
        FILLED
        + ENABLED
        + """
        2 S: * OK ...
        2 C: l LOGIN ann@example.org secret
        2 S*: l OK ...
        2 C: s SELECT INBOX
        2 S*: s OK ...
        2 C: 1 STORE 3 +FLAGS.SILENT (\\Flagged)
        2 S: 1 OK ...
        2 C: 2 STORE 1 +FLAGS.SILENT (\\Deleted)
        2 S: 2 OK ...
        2 C: 3 EXPUNGE
        2 S: * 1 EXPUNGE
        2 S: 3 OK ...
        C: 1 NOOP
        S: * VANISHED 1
        S: * 3 UIDFETCH (FLAGS (...\\Flagged...))
        S: 1 OK ...
        # A mailbox that is selected later is told of alike, and without the number of the first unseen message.
        C: 2 SELECT INBOX
        S: * OK [CLOSED] ...
        S: * 2 EXISTS
        S: * 0 RECENT
        S: * FLAGS ...
        S: * OK [PERMANENTFLAGS ...
        S: * OK [UIDVALIDITY ...
        S: * OK [UIDNEXT 4] ...
        S: * OK [HIGHESTMODSEQ ...
        S: * OK [MAILBOXID ...
        S: 2 OK ...
        C: 3 UID FETCH 3 (UID)
        S: * 3 UIDFETCH (UID 3)
        S: 3 OK ...
        """
    )
