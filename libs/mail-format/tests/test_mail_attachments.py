"""The leaves that an indexer reads, decoded and bounded."""

import base64

from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format import scan, summarize
from posthorn_mail_format.attachments import Attachment, attachments
from posthorn_mail_format.part import Part

INNER = b"Content-Type: application/x-deep; name=deep.bin\r\n\r\ninner octets"
MESSAGE = b"".join(
    b"--x\r\n" + part + b"\r\n"
    for part in (
        b"\r\nthe text",
        b"Content-Type: text/csv; name=t.csv\r\n\r\n1;2",
        b'Content-Type: application/pdf; name="a.pdf"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
        + base64.encodebytes(b"%PDF-1.4 octets"),
        b"Content-Type: application/json; charset=utf-16\r\n\r\n{}",
        b"Content-Type: message/rfc822\r\n\r\n" + INNER,
        b"Content-Type: application/x-empty\r\n\r\n",
    )
)
MESSAGE = b"Content-Type: multipart/mixed; boundary=x\r\n\r\n" + MESSAGE + b"--x--\r\n"


def names(found: list[Attachment]) -> list[str]:
    return [one.media_type.removeprefix("application/") for one in found]


def test_documents_are_decoded_from_the_stored_structure() -> None:
    root = Part.load(summarize(MESSAGE).structure)
    pdf, data, deep = attachments(MESSAGE, root)
    assert (pdf.media_type, pdf.name, pdf.data) == ("application/pdf", "a.pdf", b"%PDF-1.4 octets")
    assert (data.content_type, data.data) == ('application/json; charset="utf-16"', b"{}")
    assert (deep.name, deep.data) == ("deep.bin", b"inner octets")
    assert [list(root.walk())[one.position].media_type for one in (pdf, data, deep)] == [
        "application/pdf", "application/json", "application/x-deep"
    ]  # fmt: skip


def test_only_what_is_wanted_is_decoded() -> None:
    found = attachments(MESSAGE, scan(MESSAGE), wanted=lambda media_type, name: name == "deep.bin")
    assert names(list(found)) == ["x-deep"]


def test_count_and_octets_are_bounded() -> None:
    root = scan(MESSAGE)
    assert names(list(attachments(MESSAGE, root, count=2))) == ["pdf", "json"]
    assert names(list(attachments(MESSAGE, root, octets=14))) == ["json", "x-deep"]
    assert names(list(attachments(MESSAGE, root, octets=0))) == []


@given(st.integers(0, len(MESSAGE)), st.binary(max_size=50), st.integers(0, 40))
def test_no_message_gives_more_than_was_asked_for(cut: int, noise: bytes, octets: int) -> None:
    data = MESSAGE[:cut] + noise + MESSAGE[cut:]
    assert sum(len(one.data) for one in attachments(data, scan(data), octets=octets)) <= octets
