"""A mapped file is read as its bytes are."""

import base64
import tempfile
from mmap import ACCESS_READ

import pytest

from posthorn_mail_format import scan, summarize
from posthorn_mail_format.list_fields import passed_on, was_delivered_to
from posthorn_mail_format.octets import Mapped, count_octet

WINDOW = 262_144


def mapped(data: bytes) -> Mapped:
    with tempfile.TemporaryFile() as file:
        file.write(data)
        file.flush()
        return Mapped(file.fileno(), 0, access=ACCESS_READ)


@pytest.mark.parametrize("offset", range(-6, 3))
def test_a_needle_is_found_wherever_a_window_ends(offset: int) -> None:
    needle = b"\n--edge"
    data = b"x" * (2 * WINDOW + offset) + needle + b"y" * WINDOW + needle
    octets = mapped(data)
    first = data.find(needle)
    assert octets.find(needle) == first
    assert octets.find(needle, first + 1) == data.find(needle, first + 1)
    assert octets.find(needle, 0, first + len(needle) - 1) == -1
    assert octets.find(needle, first, first + len(needle)) == first
    assert octets.rfind(needle, first - 10, first + 20) == first


def test_counts_and_beginnings_are_those_of_bytes() -> None:
    data = (b"line\r\n" * 100_000)[:-1]
    octets = mapped(data)
    for start, end in ((0, None), (3, 7), (WINDOW - 1, 2 * WINDOW + 1), (5, 5), (0, 10 * len(data))):
        stop = len(data) if end is None else end
        assert (
            count_octet(octets, b"\n", start, stop)
            == count_octet(data, b"\n", start, stop)
            == data.count(b"\n", start, stop)
        )
        assert octets.find(b"absent", start, end) == data.find(b"absent", start, end) == -1
    assert octets.startswith(b"line", 6)
    assert octets.startswith((b"no", b"line"), 6)
    assert not octets.startswith(b"line", 6, 9)


def attachment(size: int) -> bytes:
    return base64.encodebytes(bytes(range(256)) * (size // 256)).replace(b"\n", b"\r\n")


HEAD = b"Return-Path: <a@example.net>\r\nDelivered-To: l@example.org\r\nFrom: A <a@example.net>\r\nSubject: large\r\n"
INNER = b"From: B <b@example.net>\r\nSubject: inner\r\n\r\ninner text\r\n" * 1
MESSAGES = {
    "attachment": (
        HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n--b\r\n\r\nhello\r\n--b\r\n'
        b"Content-Type: application/pdf\r\nContent-Transfer-Encoding: base64\r\n\r\n" + attachment(900_000) + b"--b\r\n"
        b"Content-Type: message/rfc822\r\n\r\n" + INNER + b"--b--\r\n"
    ),
    "quoted-printable": HEAD
    + b"Content-Transfer-Encoding: quoted-printable\r\nContent-Type: text/html\r\n\r\n"
    + b"<p>=C3=A9t=C3=A9 and more of it=\r\n" * 60_000,
    "base64 text": HEAD + b"Content-Transfer-Encoding: base64\r\n\r\n" + attachment(700_000),
    "unclosed": HEAD + b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n' + b"--bc\r\n" * 120_000,
    "no header": b"\r\n" + b"text " * 200_000,
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_mapped_message_has_the_summary_of_its_bytes(name: str) -> None:
    data = MESSAGES[name]
    assert scan(mapped(data)) == scan(data)
    assert summarize(mapped(data)) == summarize(data)


def test_a_mapped_message_is_passed_on_as_its_bytes_are() -> None:
    data = MESSAGES["attachment"]
    assert was_delivered_to(mapped(data), "l@example.org")
    assert passed_on(mapped(data), "l@example.org") == passed_on(data, "l@example.org")
