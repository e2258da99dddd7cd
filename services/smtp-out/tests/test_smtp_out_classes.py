"""What kind of refusal a reply is: replies as servers send them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_out.classes import ReplyClass, classified
from posthorn_smtp_out.protocol.replies import MAX_TEXT, Reply


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("550 5.1.1 The email account that you tried to reach does not exist.", "unknown-user"),
        (
            "550 5.1.1 <bob@example.net>: Recipient rejected: User unknown in local recipient table",
            "unknown-user",
        ),
        ("550 No such user here", "unknown-user"),
        ("550 Requested action not taken: mailbox unavailable", "unknown-user"),
        ("551 bob has moved", "unknown-user"),
        ("550 5.5.0 Unknown recipient", "unknown-user"),
        ("452 4.2.2 The recipient's inbox is out of storage space.", "mailbox-full"),
        ("552 5.2.2 over quota", "mailbox-full"),
        ("552 too much mail data", "mailbox-full"),
        ("552 5.3.4 Message size exceeds fixed limit", "too-large"),
        ("552 message is too large", "too-large"),
        ("550 5.2.1 The account is disabled", "mailbox-closed"),
        ("554 5.7.1 Service unavailable; client [192.0.2.1] blocked using zen.example", "spam"),
        ("550 5.7.1 Message rejected as spam by content filtering", "spam"),
        ("554 5.7.0 virus found", "spam"),
        ("550 5.7.1 Relaying denied", "policy"),
        ("550 5.7.1 You may not write here", "policy"),
        ("554 Transaction failed", "policy"),
        ("550 5.7.26 This mail has been blocked because the sender is unauthenticated", "authentication"),
        (
            "550 5.7.1 Unauthenticated email is not accepted due to domain's DMARC policy",
            "authentication",
        ),
        ("450 4.7.1 Client host rejected: cannot find your reverse DNS", "authentication"),
        ("451 4.7.1 Greylisting in action, please come back in 5 minutes", "greylisted"),
        ("450 4.2.0 Recipient address rejected: Greylisted", "greylisted"),
        ("421 4.7.0 Too many connections from your host", "busy"),
        ("421 4.3.2 Service shutting down", "busy"),
        ("421 goodbye", "busy"),
        ("450 4.7.28 unusual rate of mail", "busy"),
        ("452 4.5.3 Too many recipients", "busy"),
        ("451 4.3.0 Temporary lookup failure", "system"),
        ("451 try it some other day", "system"),
        ("554 5.6.0 invalid content", "content"),
        ("553 5.6.7 The destination does not support internationalized addresses", "content"),
        ("554 5.4.6 Too many hops", "loop"),
        ("554 5.4.7 Not delivered within the time that the sender set", "expired"),
        ("550 5.1.2 The domain does not exist", "dns"),
        ("556 5.1.10 The domain takes no mail", "dns"),
        ("451 4.4.3 DNS look-up of example.net failed", "dns"),
        ("454 4.7.4 TLS is required and the remote does not offer it", "tls"),
        ("550 5.7.30 The destination does not support REQUIRETLS", "tls"),
        ("451 4.4.1 spamtrap.example.net [192.0.2.1]:25: connection refused", "network"),
        ("451 4.4.2 the connection was closed", "network"),
        ("451 4.4.1 Not served now: 554 5.7.1 192.0.2.1 is listed in bl.example", "spam"),
        ("451 4.4.1 Not served now: 554 no", "policy"),
        ("500 5.5.2 Syntax error", "protocol"),
        ("502 command not implemented", "protocol"),
        ("499 well", "other"),
    ],
    ids=lambda value: value if " " not in value else "",
)
def test_a_refusal_has_a_class(said: str, kind: str) -> None:
    code, _, text = said.partition(" ")
    assert classified(Reply(int(code), (text,))) == kind


def test_what_is_no_refusal_has_none() -> None:
    assert classified(Reply(250, ("2.0.0 ok, but your mailbox is full",))) is None


@given(st.integers(400, 599), st.lists(st.text(max_size=MAX_TEXT), max_size=4))
def test_every_refusal_has_one(code: int, lines: list[str]) -> None:
    assert classified(Reply(code, tuple(lines))) in set(ReplyClass)
