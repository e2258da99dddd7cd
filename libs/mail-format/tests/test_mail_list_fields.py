"""What a list changes in a message, and how a loop is known."""

from posthorn_mail_format.list_fields import (
    ListNames,
    bounce_address,
    listed,
    owner_address,
    passed_on,
    was_delivered_to,
)

MESSAGE = (
    b"Return-Path: <eve@example.net>\r\nReceived: by a\r\n b\r\nList-Id: Other <other.example.net>\r\n"
    b"DKIM-Signature: v=1\r\nFrom: eve@example.net\r\nlist-unsubscribe: <mailto:x@y.org>\r\nSubject: hi\r\n\r\nbody\r\n"
)


def test_a_list_puts_its_own_fields_in_place_of_others() -> None:
    sent = listed(MESSAGE, ListNames("news@example.org", "Grüße", open=True)).decode()
    assert sent.endswith(
        "Received: by a\r\n b\r\nDKIM-Signature: v=1\r\nFrom: eve@example.net\r\nSubject: hi\r\n\r\nbody\r\n"
    )
    head = sent[: sent.index("Received")]
    assert head.startswith("Delivered-To: news@example.org\r\nList-Id: =?")
    assert " <news.example.org>\r\n" in head
    assert "List-Post: <mailto:news@example.org>\r\n" in head
    assert "List-Owner: <mailto:news-owner@example.org>\r\n" in head
    assert "List-Unsubscribe: <mailto:news-owner@example.org?subject=unsubscribe>\r\nPrecedence: list\r\n" in head
    assert "other.example.net" not in sent
    closed = listed(b"no header at all\r\n", ListNames("a&b@example.org", "", open=False))
    assert b"List-Post: NO\r\n" in closed
    assert b"<mailto:a%26b-owner@example.org>" in closed
    assert closed.endswith(b"\r\n\r\nno header at all\r\n")
    assert (bounce_address("a@b.org"), owner_address("a@b.org")) == ("a-bounces@b.org", "a-owner@b.org")


def test_what_was_passed_on_before_is_known_by_its_mark() -> None:
    once = passed_on(MESSAGE, "ann@example.org")
    assert once == b"Delivered-To: ann@example.org\r\n" + MESSAGE.partition(b"\r\n")[2]
    assert was_delivered_to(once, "Ann@Example.org")
    assert not was_delivered_to(once, "bob@example.org")
    assert not was_delivered_to(MESSAGE + once, "ann@example.org")  # in the body it says nothing
    assert was_delivered_to(listed(once, ListNames("news@example.org", "", open=True)), "news@example.org")
