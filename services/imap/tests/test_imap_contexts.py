"""Conversations about searches that are kept up to date (RFC 5267): what comes, what goes, and what is refused."""

from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = "S: * OK ...\nC: l LOGIN ann@example.org secret\nS*: l OK ...\n"


def letter(subject: str) -> str:
    text = f"Subject: {subject}\r\n\r\nx\r\n"
    escaped = text.encode("unicode_escape").decode()
    return f"APPEND INBOX {{{len(text)}+}}\\r\\n{escaped}\\r\\n\n"


def filled(*subjects: str) -> str:
    """A login and an inbox with a message for each subject."""
    lines = [f"C\\: a {letter(subject)}S: a OK ...\n" for subject in subjects]
    return LOGIN + "".join(lines) + "C: s SELECT INBOX\nS*: s OK ...\n"


OTHER = (
    "other S: * OK ...\nother C: l LOGIN ann@example.org secret\nother S*: l OK ...\n"
    "other C: s SELECT INBOX\nother S*: s OK ...\n"
)


async def test_a_search_hears_what_comes_and_goes(imap: Any) -> None:
    await imap.play(
        filled("a", "b", "c")
        + OTHER
        + f"""
        C: 1 SEARCH RETURN (ALL UPDATE CONTEXT) UNSEEN
        S: * ESEARCH (TAG "1") ALL 1:3
        S: 1 OK SEARCH completed
        C: 2 STORE 2 +FLAGS.SILENT (\\Seen)
        S: * ESEARCH (TAG "1") REMOVEFROM (0 2)
        S: 2 OK ...
        C: 3 STORE 2 -FLAGS.SILENT (\\Seen)
        S: * ESEARCH (TAG "1") ADDTO (0 2)
        S: 3 OK ...
        other C\\: 4 {letter("d")}
        other S*: 4 OK ...
        C: 5 NOOP
        S: * 4 EXISTS
        S: * 4 RECENT
        S: * ESEARCH (TAG "1") ADDTO (0 4)
        S: 5 OK ...
        other C: 6 STORE 1 +FLAGS.SILENT (\\Deleted)
        other S: 6 OK ...
        other C: 7 EXPUNGE
        other S: * 1 EXPUNGE
        other S: 7 OK ...
        C: 8 UID NOOP
        S: 8 BAD ...
        C: 9 NOOP
        S: * ESEARCH (TAG "1") REMOVEFROM (0 1)
        S: * 1 EXPUNGE
        S: 9 OK ...
        C: 10 CANCELUPDATE "1" "unknown"
        S: 10 OK CANCELUPDATE completed
        C: 11 STORE 1 +FLAGS.SILENT (\\Seen)
        S: 11 OK ...
        """
    )


async def test_a_sorted_search_hears_at_which_places(imap: Any) -> None:
    await imap.play(
        filled("d", "b", "f")
        + OTHER
        + f"""
        C: 1 UID SORT RETURN (ALL UPDATE) (SUBJECT) UTF-8 UNDELETED
        S: * ESEARCH (TAG "1") UID ALL 2,1,3
        S: 1 OK SORT completed
        C: 2 IDLE
        S: + idling
        other C\\: 3 {letter("e")}
        other S*: 3 OK ...
        S*: * ESEARCH (TAG "1") UID ADDTO (3 4)
        other C\\: 4 {letter("a")}
        other S*: 4 OK ...
        S*: * ESEARCH (TAG "1") UID ADDTO (1 5)
        other C: 5 UID STORE 1,3 +FLAGS.SILENT (\\Deleted)
        other S: 5 OK ...
        S*: * ESEARCH (TAG "1") UID REMOVEFROM (5 3 3 1)
        C: DONE
        S*: 2 OK ...
        """
    )


async def test_what_is_not_kept_up_to_date(imap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthorn_imap.contexts.MAX_CONTEXTS", 2)
    monkeypatch.setattr("posthorn_imap.contexts.MAX_MESSAGES", 2)
    await imap.play(
        filled("a", "b", "c")
        + """
        C: 1 SEARCH RETURN (COUNT UPDATE) 1:2
        S: * ESEARCH (TAG "1") COUNT 2
        S: * NO [NOUPDATE "1"] Sequence numbers are searched once
        S: 1 OK SEARCH completed
        C: 2 SEARCH RETURN (COUNT UPDATE) ALL
        S: * ESEARCH (TAG "2") COUNT 3
        S: * NO [NOUPDATE "2"] Too many messages
        S: 2 OK SEARCH completed
        C: 3 SEARCH RETURN (UPDATE) FLAGGED
        S: * ESEARCH (TAG "3")
        S: 3 OK SEARCH completed
        C: 4 SORT RETURN (UPDATE COUNT) (DATE) UTF-8 FLAGGED
        S: * ESEARCH (TAG "4") COUNT 0
        S: 4 OK SORT completed
        C: 5 SEARCH RETURN (COUNT UPDATE) FLAGGED
        S: * ESEARCH (TAG "5") COUNT 0
        S: * NO [NOUPDATE "5"] Too many contexts
        S: 5 OK SEARCH completed
        C: 6 ESEARCH RETURN (UPDATE) ALL
        S: 6 BAD ESEARCH: UPDATE is for SEARCH and SORT
        C: 7 CANCELUPDATE
        S: 7 BAD ...
        C: 8 CANCELUPDATE x
        S: 8 BAD ...
        C: 9 STORE 1 +FLAGS (\\Flagged)
        S: * 1 FETCH ...
        S: * ESEARCH (TAG "3") ADDTO (0 1)
        S: * ESEARCH (TAG "4") ADDTO (1 1)
        S: 9 OK ...
        """
    )
