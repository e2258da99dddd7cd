"""Conversations about when messages came into a mailbox: SAVEDATE and the search keys of RFC 8514."""

from typing import Any

import pytest

from posthorn_storage import Storage

pytestmark = pytest.mark.postgres

LOGIN = "S: * OK ...\nC: l LOGIN ann@example.org secret\nS*: l OK ...\n"
OLD = """C\\: a APPEND INBOX "01-Feb-2004 10:00:00 +0000" {14+}\\r\\nSubject: x\\r\\n\\r\\n\\r\\n
S: a OK ...
"""


async def test_a_message_has_the_date_at_which_it_was_saved(imap: Any) -> None:
    await imap.play(
        LOGIN
        + OLD
        + """
        C: c CREATE Copies
        S: c OK ...
        C: s SELECT INBOX
        S*: s OK ...
        C: 1 FETCH 1 (INTERNALDATE SAVEDATE)
        S: * 1 FETCH (INTERNALDATE "01-Feb-2004 10:00:00 +0000" SAVEDATE "...")
        S: 1 OK ...
        C: 2 SEARCH SAVEDSINCE 1-Jan-2020 BEFORE 1-Jan-2020
        S: * SEARCH 1
        S: 2 OK ...
        C: 3 SEARCH OR SAVEDBEFORE 1-Jan-2020 SAVEDON 1-Feb-2004
        S: * SEARCH
        S: 3 OK ...
        C: 4 UID SEARCH SAVEDATESUPPORTED
        S: * SEARCH 1
        S: 4 OK ...
        C: 5 MOVE 1 Copies
        S: * OK [COPYUID ...] ...
        S: * 1 EXPUNGE
        S: 5 OK ...
        C: 6 SELECT Copies
        S*: 6 OK ...
        C: 7 FETCH 1 SAVEDATE
        S: * 1 FETCH (SAVEDATE "...")
        S: 7 OK ...
        C: 8 SEARCH SAVEDSINCE yesterday
        S: 8 BAD ...
        """
    )


async def test_what_was_there_before_is_found_by_when_it_was_received(imap: Any, storage: Storage) -> None:
    await imap.play(LOGIN + OLD)
    await storage._database.execute("UPDATE mailbox_message SET saved_at = NULL")
    await imap.play(
        LOGIN
        + """
        C: s SELECT INBOX
        S*: s OK ...
        C: 1 FETCH 1 SAVEDATE
        S: * 1 FETCH (SAVEDATE NIL)
        S: 1 OK ...
        C: 2 SEARCH SAVEDON 1-Feb-2004
        S: * SEARCH 1
        S: 2 OK ...
        """
    )
