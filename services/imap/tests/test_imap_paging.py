"""Conversations about parts of what was found: PARTIAL with SEARCH, SORT and UID FETCH (RFC 9394)."""

from typing import Any

import pytest

from posthorn_imap.protocol.commands import Partial
from posthorn_imap.protocol.partial import part_of

pytestmark = pytest.mark.postgres

LOGIN = "S: * OK ...\nC: l LOGIN ann@example.org secret\nS*: l OK ...\n"


def filled(count: int) -> str:
    """A login and an inbox with messages of growing size, received a day apart."""
    lines = [LOGIN]
    for number in range(1, count + 1):
        text = f"Subject: {number}\r\n\r\n{'x' * number}"
        escaped = text.encode("unicode_escape").decode()
        lines.append(f'C\\: a APPEND INBOX "0{number}-Mar-2024 10:00:00 +0000" {{{len(text)}+}}\\r\\n{escaped}\\r\\n\n')
        lines.append("S: a OK ...\n")
    return "".join(lines) + "C: s SELECT INBOX\nS*: s OK ...\n"


@pytest.mark.parametrize(
    ("start", "end", "found"),
    [
        (1, 2, "ab"),
        (2, 1, "ab"),
        (3, 9, "cde"),
        (6, 9, ""),
        (5, 5, "e"),
        (-1, -2, "de"),
        (-2, -1, "de"),
        (-4, -9, "ab"),
        (-6, -9, ""),
        (-5, -5, "a"),
    ],
)
def test_a_part_of_what_was_found(start: int, end: int, found: str) -> None:
    assert "".join(part_of("abcde", Partial(start, end))) == found


async def test_partial(imap: Any) -> None:
    await imap.play(
        filled(5)
        + """
        C: 1 SEARCH RETURN (PARTIAL 2:3 COUNT) ALL
        S: * ESEARCH (TAG "1") PARTIAL (2:3 2:3) COUNT 5
        S: 1 OK SEARCH completed
        C: 2 UID SEARCH RETURN (PARTIAL -1:-2 MIN) NOT 5
        S: * ESEARCH (TAG "2") UID MIN 1 PARTIAL (-1:-2 3:4)
        S: 2 OK SEARCH completed
        C: 3 UID SORT RETURN (PARTIAL 1:2) (REVERSE SIZE) UTF-8 ALL
        S: * ESEARCH (TAG "3") UID PARTIAL (1:2 5,4)
        S: 3 OK SORT completed
        C: 4 SEARCH RETURN (PARTIAL 6:9) ALL
        S: * ESEARCH (TAG "4") PARTIAL (6:9 NIL)
        S: 4 OK SEARCH completed
        C: 5 SEARCH RETURN (SAVE PARTIAL -2:-3 MAX) ALL
        S: * ESEARCH (TAG "5") MAX 5 PARTIAL (-2:-3 3:4)
        S: 5 OK SEARCH completed
        C: 6 SEARCH $
        S: * SEARCH 3 4 5
        S: 6 OK SEARCH completed
        C: 7 UID FETCH 2:5 (UID) (PARTIAL 1:2)
        S: * 2 FETCH (UID 2)
        S: * 3 FETCH (UID 3)
        S: 7 OK FETCH completed
        C: 8 UID FETCH 1:* (UID) (PARTIAL -1:-1)
        S: * 5 FETCH (UID 5)
        S: 8 OK FETCH completed
        C: 9 STORE 4 +FLAGS.SILENT (\\Seen)
        S: 9 OK ...
        C: 10 UID FETCH 4 (MODSEQ)
        S*: * 4 FETCH (UID 4 MODSEQ ({modseq}))
        S: 10 OK FETCH completed
        C: 11 STORE 1 +FLAGS.SILENT (\\Seen)
        S: * 1 FETCH (MODSEQ (...))
        S: 11 OK ...
        C: 12 UID FETCH 1:* (FLAGS) (PARTIAL -1:-2 CHANGEDSINCE 1)
        S*: 12 OK FETCH completed
        """
    )


async def test_what_is_refused(imap: Any) -> None:
    await imap.play(
        filled(1)
        + """
        C: 1 SEARCH RETURN (PARTIAL 1:2 ALL) ALL
        S: 1 BAD SEARCH: PARTIAL may stand once, and not beside ALL
        C: 2 SEARCH RETURN (PARTIAL 1:2 PARTIAL 3:4) ALL
        S: 2 BAD ...
        C: 3 SEARCH RETURN (PARTIAL -1:2) ALL
        S: 3 BAD SEARCH: expected a range such as 1:500 or -1:-500
        C: 4 SEARCH RETURN (PARTIAL 0:2) ALL
        S: 4 BAD SEARCH: invalid number in a range
        C: 5 SEARCH RETURN (PARTIAL 1:4294967296) ALL
        S: 5 BAD ...
        C: 6 SEARCH RETURN (PARTIAL) ALL
        S: 6 BAD ...
        C: 7 FETCH 1 (UID) (PARTIAL 1:2)
        S: 7 BAD FETCH: VANISHED and PARTIAL need UID FETCH
        C: 8 UID FETCH 1 (UID) (VANISHED)
        S: 8 BAD UID FETCH: VANISHED needs CHANGEDSINCE
        """
    )
