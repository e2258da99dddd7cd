"""Messages for the tests of this package: samples of our own, and the shared corpus where it is there."""

import re
from pathlib import Path

import pytest

BARE_LF = re.compile(rb"(?<!\r)\n")

OWN = (
    b"",
    b"\n",
    b"\r\n\r\nbody only\r\n",
    b"no header at all",
    b"Subject: header only",
    b"Subject: lf only\nFrom: ann@example.org\n\nline one\nline two\n",
    b"Subject: bare cr\rFrom: x@example.org\r\rbody\r",
    b"Subject: nul\0 inside\r\n\r\na\0b\r\n",
    b"Subject: caf\xe9\r\nTo: J\xc3\xb6rg <joerg@example.org>\r\n\r\nbody",
    b"Subject: missing empty line\r\nbody starts here\r\n\r\nmore\r\n",
    b"Content-Type: multipart/mixed\r\n\r\n--x\r\n\r\nno boundary named\r\n--x--\r\n",
    b'Content-Type: multipart/mixed; boundary="x"\r\n\r\nthe boundary never comes\r\n',
    b"Content-Type: multipart/mixed; boundary=x\r\n\r\npreamble --x in it\r\n--x\r\n\r\none\r\n"
    b"--x\r\nContent-Type: text/html\r\n\r\n<p>two",
    b"Content-Type: multipart/mixed; boundary=x\n\n--x\nContent-Type: text/plain\n--x\n\n--x--\nepilogue\n",
    b"Content-Type: multipart/digest; boundary=d\r\n\r\n--d\r\n\r\nSubject: inner\r\n\r\nhello\r\n--d--\r\n",
    b"Content-Type: message/rfc822\r\n\r\n"
    b"Content-Type: multipart/mixed; boundary=y\r\n\r\n--y\r\n\r\ndeep\r\n--y--\r\n",
    b"Content-Type: message/rfc822\n\n" * 80,
    b"".join(b"Content-Type: multipart/mixed; boundary=b%d\n\n--b%d\n" % (n, n) for n in range(80)),
)


@pytest.fixture(scope="session")
def own_messages() -> tuple[bytes, ...]:
    return OWN


@pytest.fixture(scope="session")
def corpus_messages(corpus_folder: Path) -> list[tuple[str, bytes]]:
    """(name, bytes) of every corpus message, as stored and with CRLF."""
    paths = sorted(path for path in (corpus_folder / "messages").rglob("*") if path.is_file())
    stored = [(path.name, path.read_bytes()) for path in paths]
    return stored + [(name + " (CRLF)", BARE_LF.sub(b"\r\n", data)) for name, data in stored]
