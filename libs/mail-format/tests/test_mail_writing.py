"""Messages and notifications that are written: read back by the scanner and by the standard library."""

from datetime import UTC, datetime
from email import message_from_bytes, policy
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format import listing, scan, summarize
from posthorn_mail_format.headers import find, iterate
from posthorn_mail_format.message_builder import FORMS, NewPart, build, compose
from posthorn_mail_format.reports import DeliveryReport, ReportedRecipient, decode_xtext, write_dsn
from posthorn_mail_format.text import decode_bytes
from posthorn_mail_format.writing import address_value, encode_text, field, parameters_value, text_value
from posthorn_model.errors import InvalidAddress, InvalidContent

MOMENT = datetime(2026, 11, 24, 2, 33, 6, tzinfo=UTC)


def written(headers: list[tuple[str, str]], body: NewPart) -> bytes:
    return build(headers, body, date=MOMENT, message_id="one@example.org", token="t0ken")


def test_a_whole_message_is_read_back() -> None:
    inline = NewPart("image/png", b"\x89PNG", cid="logo@example.org", disposition="inline", name="logo.png")
    pdf = NewPart("application/pdf", bytes(range(256)), name="Jahresübersicht " + "ä" * 40 + ".pdf")
    nested = NewPart("message/rfc822", b"Subject: inner\n\nhi\n")
    body = compose(
        NewPart(content="Schöne Grüße\n.\nFrom me\n".encode()),
        NewPart("text/html", b"<p>hello</p>"),
        [inline, pdf, nested],
    )
    data = written([("From", FORMS["asAddresses"]([{"name": "Jörg, A.", "email": "j@example.org"}]))], body)
    root = scan(data)
    assert [(number, part.media_type) for number, part in root.numbered()] == [
        ("1.1", "text/plain"),
        ("1.2.1", "text/html"),
        ("1.2.2", "image/png"),
        ("2", "application/pdf"),
        ("3", "message/rfc822"),
    ]
    leaves = dict(root.numbered())
    assert decode_bytes(data, leaves["1.1"]) == "Schöne Grüße\r\n.\r\nFrom me\r\n".encode()
    assert decode_bytes(data, leaves["2"]) == pdf.content
    assert (leaves["2"].name, leaves["2"].disposition) == (pdf.name, "attachment")
    assert leaves["1.2.2"].cid == "logo@example.org"
    summary = summarize(data)
    assert (summary.message_id, summary.sent_at) == ("one@example.org", MOMENT)
    assert listing.load(summary.listing)["from"] == [{"name": "Jörg, A.", "email": "j@example.org"}]
    assert b"\n" not in data.replace(b"\r\n", b"")
    assert max(map(len, data.split(b"\r\n"))) <= 78
    oracle = message_from_bytes(data, policy=policy.default)
    assert [part.get_content_type() for part in oracle.walk()][:3] == [
        "multipart/mixed",
        "multipart/alternative",
        "text/plain",
    ]
    assert [part.get_filename() for part in oracle.iter_attachments()] == [pdf.name, None]
    assert not [defect for part in oracle.walk() for defect in part.defects]


def test_given_fields_win_but_not_over_the_structure() -> None:
    headers = [("Date", "Thu, 30 Oct 2014 06:12:00 +0000"), ("Message-ID", "<own@example.org>"), ("MIME-Version", "9")]
    body = NewPart(
        "text/html", b"x", headers=(("Content-Type", "image/png"), ("X-Own", "1"), ("Content-Language", "de"))
    )
    fields = list(iterate(written(headers, body)))
    names = [field.name for field in fields]
    assert names.count(b"Date") == names.count(b"Message-ID") == names.count(b"MIME-Version") == 1
    assert find(fields, "MIME-Version") == b" 1.0"
    assert find(fields, "Message-ID") == b" <own@example.org>"
    assert find(fields, "Content-Type") == b" text/html; charset=utf-8"
    assert find(fields, "X-Own") == b" 1"
    assert find(fields, "Content-Language") == b" de"


def test_a_boundary_never_stands_in_a_part() -> None:
    hostile = NewPart(content=b"--=_t0ken_\r\n\r\nforged\r\n--=_t0ken_--\r\n")
    data = written([], compose(hostile, None, [NewPart("application/pdf", b"x")]))
    assert [part.media_type for _, part in scan(data).numbered()] == ["text/plain", "application/pdf"]


@pytest.mark.parametrize("value", ["a\r\nBcc: x@y", "a\nb", "a\rb", "a\r\n\r\nbody", "a\r\n \r\nb"])
def test_no_value_adds_a_line(value: str) -> None:
    with pytest.raises(InvalidContent):
        field("Subject", value)


@pytest.mark.parametrize("name", ["", "a b", "a:b", "a\r\n", "é", "x" * 100])
def test_no_name_adds_a_line(name: str) -> None:
    with pytest.raises(InvalidContent):
        field(name, "x")


@pytest.mark.parametrize("email", ["", "a b", "a@b, c@d", "a@b>", "a@b\r\nBcc: x", "<a@b>", "a@b:c", "a@(b)"])
def test_broken_addresses_are_refused(email: str) -> None:
    with pytest.raises(InvalidAddress):
        address_value("Name", email)


@given(st.text(max_size=150))
def test_any_text_is_read_back(text: str) -> None:
    value = field("Subject", text_value(text))
    assert b"\n" not in value.replace(b"\r\n ", b"")[:-2]
    (found,) = iterate(value)
    shown = "".join(" " if character in "\r\n\0" else character for character in text)
    expected = listing.as_text(shown.encode("utf-8", "replace"))
    assert listing.as_text(found.value).replace(" ", "") == expected.replace(" ", "")


@given(st.text(max_size=60).filter(str.strip))
def test_any_name_is_read_back(name: str) -> None:
    value = address_value(name, "ann@example.org")
    ((found),) = listing.as_addresses(field("To", value)[3:])
    assert found["email"] == "ann@example.org"
    shown = "".join(" " if character in "\r\n\0" else character for character in name)
    clean = shown.encode("utf-8", "replace").decode()
    assert "".join((found["name"] or "").split()) == "".join(clean.split())


@given(st.text(max_size=120))
def test_any_file_name_is_read_back(name: str) -> None:
    data = field("Content-Disposition", parameters_value("attachment", {"filename": name})) + b"\r\n"
    shown = "".join(" " if character in "\r\n\0" else character for character in name)
    assert scan(data).disposition_params["filename"] == shown.encode("utf-8", "replace").decode()


@given(st.text(max_size=300))
def test_any_text_body_is_read_back(text: str) -> None:
    octets = text.encode("utf-8", "replace")
    encoding, body = encode_text(octets)
    data = b"Content-Transfer-Encoding: " + encoding.encode() + b"\r\n\r\n" + body
    expected = octets.replace(b"\r\n", b"\n").replace(b"\r", b"\n").replace(b"\n", b"\r\n")
    assert decode_bytes(data, scan(data)) == expected
    assert max(map(len, body.split(b"\r\n"))) <= 998


@pytest.mark.parametrize(
    ("form", "value", "expected"),
    [
        ("asText", "plain", "plain"),
        ("asMessageIds", ["a@b", "c@d"], "<a@b> <c@d>"),
        ("asURLs", ["mailto:a@b", "http://c/"], "<mailto:a@b>, <http://c/>"),
        ("asDate", "2014-10-30T14:12:00+08:00", "Thu, 30 Oct 2014 14:12:00 +0800"),
        (
            "asGroupedAddresses",
            [
                {"name": None, "addresses": [{"name": "A B", "email": "a@b"}]},
                {"name": "Friends", "addresses": [{"name": None, "email": "c@d"}]},
                {"name": "none", "addresses": []},
            ],
            "A B <a@b>, Friends: c@d;, none:;",
        ),
    ],
)
def test_forms_are_written(form: str, value: Any, expected: str) -> None:
    assert FORMS[form](value) == expected
    if form not in ("asText",):
        assert listing.FORMS[form](expected.encode()) == value


@pytest.mark.parametrize(
    ("form", "value"),
    [("asMessageIds", ["a b"]), ("asURLs", ["<x>"]), ("asDate", "soon"), ("asDate", "2014-10-30T14:12:00")],
)
def test_broken_forms_are_refused(form: str, value: Any) -> None:
    with pytest.raises(InvalidContent):
        FORMS[form](value)


ORIGINAL = b"From: ann@example.org\r\nSubject: hello\r\n\r\nbody of the original\r\n"


def report(*recipients: ReportedRecipient, recipient: str = "ann@example.org") -> DeliveryReport:
    return DeliveryReport(
        "mx.example.org",
        "mailer-daemon@example.org",
        recipient,
        recipients,
        MOMENT,
        "dsn@mx.example.org",
        MOMENT,
        "Q+2B1",
    )


FAILED = ReportedRecipient(
    "bob@example.net",
    "failed",
    "5.1.1",
    "550 5.1.1 no such\r\nuser",
    "mx.example.net",
    "rfc822;bob+2Bx@example.net",
    MOMENT,
)


def test_a_notification_is_a_report() -> None:
    data = write_dsn(report(FAILED), ORIGINAL, return_full=False)
    root = scan(data)
    assert root.media_type == "multipart/report"
    assert root.params["report-type"] == "delivery-status"
    assert [child.media_type for child in root.children] == [
        "text/plain",
        "message/delivery-status",
        "text/rfc822-headers",
    ]
    _, status, headers = root.children
    assert data[status.body_start : status.body_end].split(b"\r\n\r\n") == [
        b"Original-Envelope-Id: Q+1\r\nReporting-MTA: dns; mx.example.org\r\n"
        b"Arrival-Date: Tue, 24 Nov 2026 02:33:06 +0000",
        b"Original-Recipient: rfc822;bob+x@example.net\r\nFinal-Recipient: rfc822;bob@example.net\r\nAction: failed\r\n"
        b"Status: 5.1.1\r\nRemote-MTA: dns;mx.example.net\r\nDiagnostic-Code: smtp;550 5.1.1 no such user\r\n"
        b"Last-Attempt-Date: Tue, 24 Nov 2026 02:33:06 +0000\r\n",
    ]
    assert data[headers.body_start : headers.body_end] == b"From: ann@example.org\r\nSubject: hello\r\n\r\n"
    oracle = message_from_bytes(data, policy=policy.default)
    assert oracle["auto-submitted"] == "auto-replied"
    assert not [defect for part in oracle.walk() for defect in part.defects]


def test_the_whole_message_is_returned_when_asked_for() -> None:
    data = write_dsn(report(FAILED), ORIGINAL, return_full=True)
    returned = scan(data).children[2]
    assert returned.media_type == "message/rfc822"
    assert data[returned.body_start : returned.body_end] == ORIGINAL


def test_an_internationalized_notification() -> None:
    bob = ReportedRecipient(
        "bøb@example.net", "delayed", "4.4.1", retry_until=MOMENT, original="utf-8;b\\x{F8}b@example.net"
    )
    data = write_dsn(report(bob, recipient="änn@example.org"), "Subject: grüße\r\n\r\nx".encode(), return_full=False)
    root = scan(data)
    assert [child.media_type for child in root.children][1:] == [
        "message/global-delivery-status",
        "message/global-headers",
    ]
    assert root.encoding == "8bit"
    status = data[root.children[1].body_start : root.children[1].body_end].decode()
    assert "Final-Recipient: utf-8;bøb@example.net\r\n" in status
    assert "Original-Recipient: utf-8;bøb@example.net\r\n" in status
    assert "Will-Retry-Until: " in status


def test_many_recipients_are_told_apart() -> None:
    fine = ReportedRecipient("carl@example.net", "delivered", "2.0.0")
    data = write_dsn(report(fine, FAILED), ORIGINAL, return_full=False)
    assert summarize(data).subject.startswith("Undelivered mail")
    assert data.count(b"Final-Recipient:") == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [("a+2Bb", "a+b"), ("a+0D+0Ab", "a b"), ("\\x{20AC}", "€"), ("\\x{FFFFFF}", "\ufffd"), ("plain", "plain")],
)
def test_xtext(text: str, expected: str) -> None:
    assert decode_xtext(text) == expected


@pytest.mark.parametrize("content", [b"a\nb\n", b"a\r\nb", b"a\rb", b"", b"a;b\n" * 3000])
def test_a_text_that_is_a_file_comes_back_as_it_was(content: bytes) -> None:
    table = NewPart("text/csv", content, name="table.csv", disposition="attachment")
    data = written([], compose(NewPart(content=b"see below\n"), None, [table]))
    part = dict(scan(data).numbered())["2"]
    message = message_from_bytes(data, policy=policy.default)
    assert next(iter(message.iter_attachments())).get_payload(decode=True) == content
    assert part.name == "table.csv"
