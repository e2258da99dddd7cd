"""Conversations with SORT and THREAD: the responses, result options, numbers and UIDs, and what is refused."""

from collections.abc import Sequence
from typing import Any

import pytest

pytestmark = pytest.mark.postgres

LOGIN = """
S: * OK ...
C: l LOGIN ann@example.org secret
S*: l OK ...
"""
LETTERS = (
    ("Zoe <zoe@b.org>", "bob@x.org", "", "Lunch", "1 Feb 2024 10:00:00 +0000", "<1@x>", ""),
    ("ann@b.org", '"Émile" <e@x.org>', "c@x.org", "Re: [l] lunch (fwd)", "1 Feb 2024 09:00:00 -0500", "<2@x>", "<1@x>"),
    ("=?utf-8?q?=C3=A4?= <m@b.org>", "friends: a@x.org;", "", "Dinner", "1 Feb 2024 12:00:00 +0200", "<3@x>", "<2@x>"),
    ("", "", "a@x.org", "", "no date", "<4@x>", "<0@x> <1@x>"),
)  # fmt: skip
_FIELDS = ("From", "To", "Cc", "Subject", "Date", "Message-ID", "References")


def letters(rows: Sequence[Sequence[str]] = LETTERS) -> str:
    """A login, the letters in the inbox (received a day apart, the last first), and UIDs that are not their numbers."""
    script = [LOGIN]
    for number, row in enumerate((("",) * 7, *rows)):
        text = "".join(f"{name}: {value}\r\n" for name, value in zip(_FIELDS, row, strict=True) if value)
        text += "X: y\r\n\r\n" + "x" * number
        escaped = text.encode().decode("latin-1").encode("unicode_escape").decode()
        received = f'"{28 - number:2}-Mar-2024 10:00:00 +0000"'
        script.append(f"C\\: a APPEND INBOX {received} {{{len(text.encode())}+}}\\r\\n{escaped}\\r\\n\nS: a OK ...\n")
    script.append("C: s SELECT INBOX\nS*: s OK ...\nC: d STORE 1 +FLAGS.SILENT (\\Deleted)\nS: d OK ...\n")
    script.append("C: e EXPUNGE\nS: * 1 EXPUNGE\nS: e OK ...\n")
    return "".join(script)


ORDERS = (
    ("ARRIVAL", "4 3 2 1"),
    ("REVERSE ARRIVAL", "1 2 3 4"),
    ("DATE", "1 3 2 4"),
    ("SIZE", "4 1 3 2"),
    ("SUBJECT DATE", "4 3 1 2"),
    ("REVERSE SUBJECT REVERSE DATE", "2 1 3 4"),
    ("FROM", "4 2 3 1"),
    ("TO", "4 1 2 3"),
    ("CC FROM", "3 1 4 2"),
    ("DISPLAYFROM", "4 2 3 1"),
    ("DISPLAYTO", "4 1 2 3"),
    ("SUBJECT REVERSE SUBJECT REVERSE ARRIVAL", "4 3 1 2"),
)


async def test_each_sort_key(imap: Any) -> None:
    asked = (
        f"C: {n} SORT ({by}) UTF-8 ALL\nS: * SORT {order}\nS: {n} OK ...\n" for n, (by, order) in enumerate(ORDERS)
    )
    await imap.play(letters() + "".join(asked))


async def test_sort_with_result_options(imap: Any) -> None:
    await imap.play(
        letters()
        + """
        C: 1 UID SORT (SUBJECT) UTF-8 NOT 4
        S: * SORT 4 2 3
        S: 1 OK SORT completed
        C: 2 SORT RETURN () (REVERSE ARRIVAL) UTF-8 1:3
        S: * ESEARCH (TAG "2") ALL 1:3
        S: 2 OK SORT completed
        C: 3 UID SORT RETURN (MIN MAX COUNT ALL) (ARRIVAL) US-ASCII ALL
        S: * ESEARCH (TAG "3") UID MIN 5 MAX 2 ALL 5,4,3,2 COUNT 4
        S: 3 OK SORT completed
        C: 4 SORT RETURN (SAVE MIN) (ARRIVAL) US-ASCII ALL
        S: * ESEARCH (TAG "4") MIN 4
        S: 4 OK SORT completed
        C: 5 SORT (SIZE) UTF-8 $
        S: * SORT 4
        S: 5 OK SORT completed
        C: 6 SORT RETURN (COUNT) (SIZE) UTF-8 SUBJECT nothing
        S: * ESEARCH (TAG "6") COUNT 0
        S: 6 OK SORT completed
        C: 7 SORT (SIZE) UTF-8 SUBJECT nothing
        S: * SORT
        S: 7 OK SORT completed
        C: 8 SORT (SIZE) UTF-8 3:4 MODSEQ 1
        S: * OK [HIGHESTMODSEQ ...] ...
        S: * SORT 4 3 (MODSEQ {modseq})
        S: 8 OK SORT completed
        """
    )


async def test_thread(imap: Any) -> None:
    await imap.play(
        letters()
        + """
        C: 1 THREAD REFERENCES UTF-8 ALL
        S: * THREAD (1 (2 3)(4))
        S: 1 OK THREAD completed
        C: 2 UID THREAD REFERENCES US-ASCII ALL
        S: * THREAD (2 (3 4)(5))
        S: 2 OK THREAD completed
        C: 3 UID THREAD ORDEREDSUBJECT UTF-8 NOT 4
        S: * THREAD (2 3)(4)
        S: 3 OK THREAD completed
        C: 4 THREAD REFERENCES UTF-8 3:4
        S: * THREAD (3)(4)
        S: 4 OK THREAD completed
        C: 5 THREAD REFERENCES UTF-8 SUBJECT nothing
        S: * THREAD
        S: 5 OK THREAD completed
        """
    )


async def test_what_is_refused(imap: Any) -> None:
    many = "1," * 9999 + "1"
    deep = "NOT " * 40 + "ALL"
    await imap.play(
        letters(LETTERS[:1])
        + f"""
        C: 1 SORT (DATE) KOI8-X ALL
        S: 1 NO [BADCHARSET (UTF-8 ...)] ...
        C: 2 SORT () UTF-8 ALL
        S: 2 BAD ...
        C: 3 SORT (COLOUR) UTF-8 ALL
        S: 3 BAD SORT: unknown sort key COLOUR
        C: 4 SORT (REVERSE) UTF-8 ALL
        S: 4 BAD ...
        C: 5 SORT ({"DATE " * 64}DATE) UTF-8 ALL
        S: 5 BAD SORT: more than 64 sort keys
        C: 6 SORT (DATE) ALL
        S: 6 BAD ...
        C: 7 SORT DATE UTF-8 ALL
        S: 7 BAD ...
        C: 8 SORT RETURN (MIN COLOUR) (DATE) UTF-8 ALL
        S: 8 BAD SORT: unknown result option
        C: 9 THREAD COLOUR UTF-8 ALL
        S: 9 BAD THREAD: unknown threading algorithm
        C: 10 THREAD REFERENCES UTF-8 {deep}
        S: 10 BAD THREAD: search too complex
        C: 11 THREAD REFERENCES UTF-8 5
        S: 11 BAD THREAD: sequence number not in use
        C: 12 UID SORT (DATE) UTF-8 UID {many}
        S: * SORT
        S: 12 OK SORT completed
        C: 13 SORT (DATE DATE REVERSE DATE) UTF-8 ALL
        S: * SORT 1
        S: 13 OK SORT completed
        """
    )


async def test_texts_that_sort_and_thread_alike_in_any_case(imap: Any) -> None:
    rows = [
        ("", "", "", subject, "", f"<{n}@x>", "") for n, subject in enumerate(("ÄRGER", "zorn", "Re: ärger", "Arg"))
    ]
    await imap.play(
        letters(rows)
        + """
        C: 1 SORT (SUBJECT) UTF-8 ALL
        S: * SORT 4 1 3 2
        S: 1 OK SORT completed
        C: 2 THREAD REFERENCES UTF-8 1:3
        S: * THREAD (2)(1 3)
        S: 2 OK THREAD completed
        """
    )


async def test_pages_give_what_one_read_gives(imap: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("posthorn_imap.message_order.PAGE", 2)
    monkeypatch.setattr("posthorn_imap.message_order.AT_ONCE", 1)
    monkeypatch.setattr("posthorn_imap.commands.thread.PAGE", 3)
    await imap.play(
        letters()
        + """
        C: 1 SORT (DATE) UTF-8 ALL
        S: * SORT 1 3 2 4
        S: 1 OK SORT completed
        C: 2 THREAD REFERENCES UTF-8 ALL
        S: * THREAD (1 (2 3)(4))
        S: 2 OK THREAD completed
        """
    )
