"""Every message of the corpus, also the malformed ones, goes in by APPEND and comes back octet for octet."""

import asyncio
import imaplib
import re
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.postgres
_LINE_END = re.compile(rb"\r\n|\r|\n")

OWN = [
    b"\r\n",
    b"no header at all",
    b"Subject: bare\rcr and \x00 NUL and 8-bit \xff\r\n\r\nbody\x00\r\n",
    b"Subject: lf only\n\nbody\n",
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\n--x\r\n--x\r\n\r\n--x--",
    b"Subject: " + b"long " * 5000 + b"\r\n\r\n" + b"y" * 100_000 + b"\r\n",
    b"Content-Type: multipart/mixed\r\n\r\n" * 50,
]


def kept_and_read_back(host: str, port: int, messages: list[bytes]) -> None:
    """Append all, then read each as a whole, by its parts, and its listing."""
    with imaplib.IMAP4(host, port, timeout=30) as client:
        client.login("ann@example.org", "secret")
        for octets in messages:
            literal = client._new_tag() + b" APPEND INBOX {%d+}\r\n" % len(octets)  # type: ignore[attr-defined]
            client.send(literal + octets + b"\r\n")
            line = client.readline()
            assert b" OK [APPENDUID " in line, (line, octets[:200])
        client.select("INBOX", readonly=True)
        for number, octets in enumerate(messages, 1):
            _, whole = client.fetch(str(number), "(BODY.PEEK[] RFC822.SIZE)")
            assert whole[0] is not None
            assert whole[0][1] == octets
            _, header = client.fetch(str(number), "BODY.PEEK[HEADER]")
            _, text = client.fetch(str(number), "BODY.PEEK[TEXT]")
            joined = b"".join(part[1] for part in (header[0], text[0]) if isinstance(part, tuple))
            assert joined == octets
        status, listing = client.fetch("1:*", "(ENVELOPE BODYSTRUCTURE BODY BODY.PEEK[HEADER.FIELDS (FROM SUBJECT)])")
        assert status == "OK"
        assert sum(b"BODYSTRUCTURE" in _text(part) for part in listing) == len(messages)


def _text(part: Any) -> bytes:
    return b" ".join(part) if isinstance(part, tuple) else part or b""


async def test_own_samples(imap: Any) -> None:
    await asyncio.to_thread(kept_and_read_back, *imap.address(), OWN)


@pytest.mark.timeout(300)
async def test_the_corpus(imap: Any, corpus_folder: Path) -> None:
    paths = sorted(path for path in (corpus_folder / "messages").rglob("*") if path.is_file())
    messages = [_LINE_END.sub(b"\r\n", path.read_bytes()) for path in paths]
    await asyncio.to_thread(kept_and_read_back, *imap.address(), [octets for octets in messages if octets])
