"""Conversations with ESEARCH over several mailboxes (RFC 7377), and signs of life from a search that takes long."""

from typing import Any

import asyncpg
import pytest

pytestmark = pytest.mark.postgres

LOGIN = "S: * OK ...\nC: l LOGIN ann@example.org secret\nS*: l OK ...\n"


def filled(*mailboxes: str) -> str:
    """A login and one message in each mailbox, the second time two."""
    lines = [LOGIN]
    for mailbox in mailboxes:
        lines.append(f"C: c CREATE {mailbox}\nS: c ...\n")
        lines.append(f"C\\: a APPEND {mailbox} {{21+}}\\r\\nSubject: lunch\\r\\n\\r\\nx\\r\\n\\r\\n\nS: a OK ...\n")
    return "".join(lines)


async def test_several_mailboxes(imap: Any) -> None:
    await imap.play(
        filled("Work", "Work/A", "Work/A/B", "Other", "Other")
        + """
        C: 1 ESEARCH IN (mailboxes (Work Nowhere) subtree-one Other) SUBJECT lunch
        S: * ESEARCH (TAG "1" MAILBOX "Other" UIDVALIDITY {other}) UID ALL 1:2
        S: * ESEARCH (TAG "1" MAILBOX "Work" UIDVALIDITY {work}) UID ALL 1
        S: 1 OK ESEARCH completed
        C: 2 ESEARCH IN (subtree Work) RETURN (COUNT MIN) ALL
        S: * ESEARCH (TAG "2" MAILBOX "Work" UIDVALIDITY {work}) UID MIN 1 COUNT 1
        S: * ESEARCH (TAG "2" MAILBOX "Work/A" UIDVALIDITY {a}) UID MIN 1 COUNT 1
        S: * ESEARCH (TAG "2" MAILBOX "Work/A/B" UIDVALIDITY {b}) UID MIN 1 COUNT 1
        S: 2 OK ESEARCH completed
        C: 3 ESEARCH IN (subtree-one Work) RETURN (COUNT) ALL
        S: * ESEARCH (TAG "3" MAILBOX "Work" UIDVALIDITY {work}) UID COUNT 1
        S: * ESEARCH (TAG "3" MAILBOX "Work/A" UIDVALIDITY {a}) UID COUNT 1
        S: 3 OK ESEARCH completed
        C: 4 ESEARCH IN (inboxes) ALL
        S: 4 OK ESEARCH completed
        C: 5 ESEARCH IN (personal) RETURN (COUNT) SUBJECT dinner
        S: 5 OK ESEARCH completed
        C: 6 ESEARCH ALL
        S: 6 BAD ESEARCH: no mailbox is selected
        C: 7 UNSUBSCRIBE Work
        S: 7 OK ...
        C: 8 ESEARCH IN (subscribed subscribed) RETURN (PARTIAL 1:1) SUBJECT lunch UID 1:*
        S: * ESEARCH (TAG "8" MAILBOX "Other" UIDVALIDITY {other}) UID PARTIAL (1:1 1)
        S: * ESEARCH (TAG "8" MAILBOX "Work/A" UIDVALIDITY {a}) UID PARTIAL (1:1 1)
        S: * ESEARCH (TAG "8" MAILBOX "Work/A/B" UIDVALIDITY {b}) UID PARTIAL (1:1 1)
        S: 8 OK ESEARCH completed
        C: s SELECT Other
        S*: s OK ...
        C: 9 ESEARCH IN (selected) RETURN (SAVE ALL) 2
        S: * ESEARCH (TAG "9" MAILBOX "Other" UIDVALIDITY {other}) UID ALL 2
        S: 9 OK ESEARCH completed
        C: 10 FETCH $ UID
        S: * 2 FETCH (UID 2)
        S: 10 OK ...
        C: 11 ESEARCH RETURN (COUNT) UNSEEN
        S: * ESEARCH (TAG "11" MAILBOX "Other" UIDVALIDITY {other}) UID COUNT 2
        S: 11 OK ESEARCH completed
        """
    )


async def test_what_is_refused(imap: Any) -> None:
    names = " ".join(f"m{number}" for number in range(501))
    await imap.play(
        filled("Work")
        + f"""
        C: 1 ESEARCH IN (personal) 1
        S: 1 BAD ESEARCH: sequence numbers are for the selected mailbox alone
        C: 2 ESEARCH IN (personal) NOT $
        S: 2 BAD ...
        C: 3 ESEARCH IN (personal) RETURN (SAVE) ALL
        S: 3 BAD ESEARCH: SAVE is for the selected mailbox alone
        C: 4 ESEARCH IN (everywhere) ALL
        S: 4 BAD ESEARCH: unknown mailboxes to search
        C: 5 ESEARCH IN () ALL
        S: 5 BAD ...
        C: 6 ESEARCH IN (mailboxes ({names})) ALL
        S: 6 BAD ESEARCH: more than 500 mailboxes
        C: 7 ESEARCH IN (personal) RETURN (COUNT) CHARSET x ALL
        S: 7 NO [BADCHARSET ...] ...
        C: 8 NOOP
        S: 8 OK ...
        """
    )


async def test_a_search_that_takes_long_shows_signs_of_life(
    imap: Any, postgres_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posthorn_imap.progress.INTERVAL", 0.1)
    conversation = imap.talk()
    await conversation.play(filled("Work") + "C: s SELECT Work\nS*: s OK ...\n")
    connection = await asyncpg.connect(postgres_dsn)
    try:
        async with connection.transaction():
            await connection.execute("LOCK TABLE message_text IN ACCESS EXCLUSIVE MODE")
            await conversation.play(
                """
                C: 1 SEARCH TEXT lunch
                S: * OK [INPROGRESS ("1" NIL NIL)] Still at it
                S: * OK [INPROGRESS ("1" NIL NIL)] Still at it
                """
            )
    finally:
        await connection.close()
    await conversation.play("S*: * SEARCH 1\nS: 1 OK SEARCH completed\nC: 2 NOOP\nS: 2 OK ...\n")
