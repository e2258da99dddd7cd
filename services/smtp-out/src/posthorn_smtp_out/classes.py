"""What kind of answer a refusal is: a pure function of the reply's code, its enhanced status code and its words.

Enhanced codes (RFC 3463 and the registry of RFC 5248) decide where they say enough. Many servers send general ones, or
none, and say it in words: then the words do. It is for people, metrics and the suppression list; whether and when a
recipient is tried again is not decided by it.
"""

import re
from collections.abc import Mapping
from enum import StrEnum

from posthorn_smtp_out.protocol.replies import Reply


class ReplyClass(StrEnum):
    """The kinds, as metrics and time lines name them."""

    UNKNOWN_USER = "unknown-user"
    MAILBOX_FULL = "mailbox-full"
    MAILBOX_CLOSED = "mailbox-closed"
    TOO_LARGE = "too-large"
    SPAM = "spam"
    AUTHENTICATION = "authentication"
    """SPF, DKIM, DMARC, ARC or the name of our address did not satisfy the remote (RFC 7372)."""
    GREYLISTED = "greylisted"
    BUSY = "busy"
    """Too much at once for the remote: rates, connections, load."""
    POLICY = "policy"
    CONTENT = "content"
    LOOP = "loop"
    EXPIRED = "expired"
    DNS = "dns"
    TLS = "tls"
    NETWORK = "network"
    """No connection, or it ended in the middle."""
    SYSTEM = "system"
    """The remote's own trouble, or ours."""
    PROTOCOL = "protocol"
    OTHER = "other"


_BY_STATUS: Mapping[str, ReplyClass] = {
    **dict.fromkeys(("1.1", "1.3", "1.6"), ReplyClass.UNKNOWN_USER),
    **dict.fromkeys(("1.2", "1.10", "4.3", "4.4"), ReplyClass.DNS),
    **dict.fromkeys(("1.7", "1.8"), ReplyClass.AUTHENTICATION),
    "2.1": ReplyClass.MAILBOX_CLOSED,
    "2.2": ReplyClass.MAILBOX_FULL,
    **dict.fromkeys(("2.3", "3.4"), ReplyClass.TOO_LARGE),
    **dict.fromkeys(("3.2", "4.5", "5.3", "7.28"), ReplyClass.BUSY),
    **dict.fromkeys(("4.1", "4.2"), ReplyClass.NETWORK),
    "4.6": ReplyClass.LOOP,
    "4.7": ReplyClass.EXPIRED,
    **dict.fromkeys(("7.4", "7.10", "7.11", "7.30"), ReplyClass.TLS),
    **dict.fromkeys((f"7.{n}" for n in (8, 9, *range(20, 28), 29)), ReplyClass.AUTHENTICATION),
}
"""Subject and detail of the status code."""
_BY_SUBJECT: Mapping[str, ReplyClass] = {
    "1": ReplyClass.OTHER,
    "2": ReplyClass.MAILBOX_CLOSED,
    "3": ReplyClass.SYSTEM,
    "4": ReplyClass.NETWORK,
    "5": ReplyClass.PROTOCOL,
    "6": ReplyClass.CONTENT,
    "7": ReplyClass.POLICY,
}
_GENERAL = frozenset({"0.0", "1.0", "2.0", "2.1", "3.0", "4.0", "5.0", "7.0", "7.1"})
"""Codes that say too little, or that servers send for anything: words are looked for first."""
_WORDS: tuple[tuple[ReplyClass, tuple[str, ...]], ...] = (
    (ReplyClass.GREYLISTED, ("greylist", "graylist", "grey-list", "gray-list")),
    (ReplyClass.AUTHENTICATION, ("spf ", "dkim", "dmarc", "reverse dns", "ptr record", "unauthenticated")),
    (ReplyClass.MAILBOX_FULL, ("mailbox full", "mailbox is full", "over quota", "quota exceeded", "overquota",
                               "insufficient storage", "exceeded storage")),
    (ReplyClass.UNKNOWN_USER, ("user unknown", "unknown user", "no such user", "user not found", "no mailbox here",
                               "does not exist", "recipient not found", "unknown recipient", "recipient unknown",
                               "invalid recipient", "no such recipient", "mailbox not found", "no such mailbox",
                               "mailbox unavailable", "unknown mailbox", "address unknown")),
    (ReplyClass.MAILBOX_CLOSED, ("mailbox disabled", "account disabled", "account is disabled", "inactive",
                                 "account has been suspended")),
    (ReplyClass.SPAM, ("spam", "blacklist", "blocklist", "block list", "blocked using", "listed in", "listed at",
                       "reputation", "unsolicited", "virus", "phish")),
    (ReplyClass.BUSY, ("too many", "rate limit", "ratelimit", "throttl", "too fast", "too busy", "try again later")),
    (ReplyClass.TOO_LARGE, ("too large", "too big", "size limit", "exceeds size")),
    (ReplyClass.TLS, ("starttls", "tls ")),
    (ReplyClass.LOOP, ("too many hops", "mail loop", "routing loop")),
    (ReplyClass.POLICY, ("policy", "relay access denied", "relaying denied", "not permitted", "denied", "rejected")),
)  # fmt: skip
"""The first that is found counts."""
_BY_CODE: Mapping[int, ReplyClass] = {
    421: ReplyClass.BUSY,
    431: ReplyClass.SYSTEM,
    450: ReplyClass.MAILBOX_CLOSED,
    451: ReplyClass.SYSTEM,
    452: ReplyClass.SYSTEM,
    550: ReplyClass.POLICY,
    551: ReplyClass.UNKNOWN_USER,
    552: ReplyClass.MAILBOX_FULL,
    553: ReplyClass.UNKNOWN_USER,
    554: ReplyClass.POLICY,
    556: ReplyClass.DNS,
}
_STATUS = re.compile(r"[245]\.(\d{1,3})\.(\d{1,3})\b")
_AT_THE_DOOR = re.compile(r"4\.4\.1 Not served now: ([45]\d\d) (.*)", re.DOTALL)
"""As the pool writes down what a remote said instead of a greeting."""
_SEEN = 500
"""Characters of a reply in which words are looked for."""


def classified(reply: Reply) -> ReplyClass | None:
    """The class of a reply; None of one that is no refusal."""
    if reply.positive:
        return None
    first = reply.lines[0] if reply.lines else ""
    door = _AT_THE_DOOR.match(first)
    if door:
        return classified(Reply(int(door[1]), (door[2],)))
    match = _STATUS.match(first)
    subject, detail = (match[1], match[2]) if match else ("0", "0")
    status = f"{subject}.{detail}"
    known = _BY_STATUS.get(status)
    if known is not None and status not in _GENERAL:
        return known
    return _of_words(reply.text) or known or _of_code(reply.code, subject)


def _of_words(text: str) -> ReplyClass | None:
    said = f"{text[:_SEEN].lower()} "
    return next((kind for kind, words in _WORDS if any(word in said for word in words)), None)


def _of_code(code: int, subject: str) -> ReplyClass:
    if subject in _BY_SUBJECT:
        return _BY_SUBJECT[subject]
    if code in _BY_CODE:
        return _BY_CODE[code]
    return ReplyClass.PROTOCOL if 500 <= code < 510 else ReplyClass.OTHER
