"""EHLO, HELO and LHLO: says who we are and what this session can do now, never more than is implemented."""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_smtp_in.protocol.commands import Hello, Verb
from posthorn_smtp_in.protocol.replies import Reply, reply


@dataclass(frozen=True, slots=True)
class Offer:
    """What depends on listener and session."""

    hostname: str
    size: int
    starttls: bool
    mechanisms: Sequence[str]
    """Of AUTH; none: it is not offered."""
    more: Sequence[str] = ()
    """Lines of other extensions."""


def banner(hostname: str, *, lmtp: bool) -> Reply:
    """The greeting (RFC 5321 4.2); carries no enhanced code (RFC 2034 4)."""
    return reply(220, "", f"{hostname} {'LMTP' if lmtp else 'ESMTP'} Posthorn")


def greet(command: Hello, offer: Offer) -> Reply:
    """The reply to a hello; the extensions in the order of their age."""
    if command.verb is Verb.HELO:
        return reply(250, "", offer.hostname)
    lines = [
        f"{offer.hostname} greets {command.name}",
        "PIPELINING",
        "8BITMIME",
        f"SIZE {offer.size}",
        "DSN",
        "ENHANCEDSTATUSCODES",
        "CHUNKING",
        "SMTPUTF8",
    ]
    lines.extend(offer.more)
    if offer.starttls:
        lines.append("STARTTLS")
    if offer.mechanisms:
        lines.append("AUTH " + " ".join(offer.mechanisms))
    return reply(250, "", *lines)
