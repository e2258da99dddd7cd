"""The searched text of a message as the real summary gives it."""

from dataclasses import replace

from posthorn_mail_format.search_texts import clean, fold, search_texts
from posthorn_mail_format.summary import MAX_KEPT_HEADERS, summarize

MESSAGE = (
    b"From: =?utf-8?q?J=C3=BCrgen?= <J@Example.org>\r\n"
    b'To: "Doe, Jane" <jane@example.com>,\r\n bob@example.net\r\n'
    b"Subject: =?utf-8?q?Gr=C3=BC=C3=9Fe?= from\r\n here\r\n"
    b"Message-ID: <Abc@X>\r\n"
    b"List-Id: =?utf-8?q?L=C3=84rm?= <l.example.org>\r\n"
    b"X-Secret: nothing\r\n"
    b"\r\nHello WORLD\r\n"
)


def test_addresses_subject_body_and_fields_are_folded_and_decoded() -> None:
    text = search_texts(summarize(MESSAGE))
    assert text.from_ == "jürgen <j@example.org>"
    assert text.to == "doe, jane <jane@example.com>\n<bob@example.net>"
    assert (text.cc, text.bcc) == ("", "")
    assert text.subject == "grüße from here"
    assert "hello world" in text.body
    lines = text.headers.split("\n")
    assert "message-id: <abc@x>" in lines
    assert any(line.startswith("list-id:") and "lärm" in line for line in lines)
    assert not any(line.startswith(("x-secret:", " ")) for line in lines)


def test_fields_too_long_to_keep_are_replaced_by_the_summary() -> None:
    long = MESSAGE.replace(b"X-Secret: nothing", b"References: <1@x>\r\nX-Mailer: " + b"x " * MAX_KEPT_HEADERS)
    summary = summarize(long)
    assert summary.headers == b""
    lines = search_texts(summary).headers.split("\n")
    assert "from:jürgen <j@example.org>" in lines
    assert "message-id:abc@x" in lines
    assert "references:1@x" in lines


def test_broken_summaries_are_searched_as_far_as_they_go() -> None:
    for listing in (b"", b"{", b"[]", b'{"from": 7}', b'{"from": [7, {"email": null}]}', b'{"from": "x"}'):
        text = search_texts(replace(summarize(MESSAGE), listing=listing))
        assert text.from_ in ("", "<>")
        assert text.subject == "grüße from here"


def test_what_postgresql_refuses_is_removed() -> None:
    assert clean("a\0b\ud800c") == "ab?c"
    assert fold("\0ÄÖ") == "äö"
    assert clean("plain") == "plain"
