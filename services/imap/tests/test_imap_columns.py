"""FETCH of what stored columns answer: the same as message by message, however many there are."""

import asyncio
import re
from typing import Any

import pytest

pytestmark = pytest.mark.postgres

COUNT = 100
"""More than one batch."""
LOGIN = "S: * OK ...\nC: l LOGIN ann@example.org secret\nS*: l OK ...\n"
ITEMS = (
    "UID FLAGS INTERNALDATE RFC822.SIZE ENVELOPE BODY BODYSTRUCTURE EMAILID THREADID PREVIEW SAVEDATE MODSEQ "
    "BODY.PEEK[HEADER.FIELDS (SUBJECT X-PRIORITY)] BODY.PEEK[HEADER.FIELDS (Subject)]<3.5>"
)


def letter(number: int) -> str:
    """The fields of every 25th are too long to be kept."""
    references = "References:" + "\r\n <x@example.net>" * 3_000 + "\r\n" if number % 25 == 0 else ""
    return f"Subject: number {number},\r\n and more\r\nX-Priority: 3\r\nX-Other: 1\r\n{references}\r\nText {number}\r\n"


async def test_columns_are_told_as_the_messages_themselves(imap: Any) -> None:
    reader, writer = await asyncio.open_connection(*imap.address())
    await asked(reader, writer, "LOGIN ann@example.org secret")
    texts = [letter(number) for number in range(1, COUNT + 1)]
    await asked(reader, writer, "APPEND INBOX" + "".join(f" {{{len(text)}+}}\r\n{text}" for text in texts))
    await asked(reader, writer, "SELECT INBOX")
    # Those whose fields are not kept come last: they are read as a whole.
    at_once = responses(await asked(reader, writer, f"FETCH 1:* ({ITEMS})"))
    assert sorted(at_once) == list(range(1, COUNT + 1))
    assert list(at_once)[-4:] == [25, 50, 75, 100]
    # A section that needs the message has each read so.
    slowly = responses(await asked(reader, writer, f"FETCH 1:* ({ITEMS} BODY.PEEK[HEADER.FIELDS (X-Other)])"))
    other = " BODY[HEADER.FIELDS (X-Other)] {14}\r\nX-Other: 1\r\n\r\n)"
    assert {number: text.replace(other, ")") for number, text in slowly.items()} == at_once
    assert "Subject: number 7,\r\n and more\r\nX-Priority: 3\r\n\r\n" in at_once[7]
    assert "BODY[HEADER.FIELDS (Subject)]<3> {5}\r\nject:" in at_once[7]
    writer.close()


async def asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, command: str) -> str:
    """What a command is answered with, which must be OK."""
    writer.write(f"t {command}\r\n".encode())
    lines = []
    while not (line := (await reader.readline()).decode()).startswith("t "):
        assert line, lines
        lines.append(line)
    assert line.startswith("t OK"), line
    return "".join(lines)


def responses(answer: str) -> dict[int, str]:
    """The FETCH responses by their numbers, in the order they came."""
    parts = re.split(r"(?m)^\* (\d+) FETCH ", answer)[1:]
    return dict(zip(map(int, parts[::2]), parts[1::2], strict=True))


async def test_messages_that_are_gone_are_told_of(imap: Any) -> None:
    filled = LOGIN + "".join("C\\: a APPEND INBOX {5+}\\r\\nA: b\\n\\r\\n\nS: a OK ...\n" for _ in range(3))
    await imap.play(
        filled
        + """
        C: s SELECT INBOX
        S*: s OK ...
        2 S: * OK ...
        2 C: l LOGIN ann@example.org secret
        2 S*: l OK ...
        2 C: s SELECT INBOX
        2 S*: s OK ...
        2 C: 1 STORE 2 +FLAGS.SILENT (\\Deleted)
        2 S: 1 OK ...
        2 C: 2 EXPUNGE
        2 S*: 2 OK ...
        C: 1 FETCH 1:3 (RFC822.SIZE)
        S*: * 1 FETCH (RFC822.SIZE 5)
        S: * 3 FETCH (RFC822.SIZE 5)
        S*: 1 NO [EXPUNGEISSUED] ...
        """
    )
