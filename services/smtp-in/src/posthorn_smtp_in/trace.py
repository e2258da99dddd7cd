"""Trace fields (RFC 5321 4.4): writes Received, counts the Received fields of others."""

import re
from datetime import UTC, datetime
from functools import lru_cache
from typing import NamedTuple

from posthorn_mail_format.dates import format_date

_RECEIVED = re.compile(rb"(?im)^received[ \t]*:")
_SAFE_NAME = re.compile(r"[A-Za-z0-9.:\[\]_-]{1,255}")


class Trace(NamedTuple):
    """What a Received field tells of one transaction."""

    hello: str
    """The client's name for itself; "" with an empty `address`: the client is not to be told of."""
    address: str
    """The client's IP address, "" for a local socket."""
    hostname: str
    """Ours."""
    protocol: str
    """RFC 3848 keyword: ESMTPS, LMTP, ..."""
    delivery: str
    """The delivery id, shown as `id`."""
    tls: str
    """Version and cipher, "" in plain text."""
    recipient: str
    """The recipient when there is exactly one, else "" (RFC 5321 7.6: no list of others)."""
    at: float
    """Seconds since 1970."""


def protocol_keyword(*, lmtp: bool, extended: bool, tls: bool, authenticated: bool, smtputf8: bool) -> str:
    """The `with` keyword (RFC 3848, RFC 6531 4.3)."""
    base = "LMTP" if lmtp else "ESMTP" if extended or tls or authenticated else "SMTP"
    if smtputf8:
        base = f"UTF8{base.removeprefix('E')}"
    if base in ("SMTP", "UTF8SMTP") and not smtputf8:
        return base
    return f"{base}{'S' if tls else ''}{'A' if authenticated else ''}"


def received(trace: Trace) -> bytes:
    """One Received field with its line ends; ASCII unless the recipient is not."""
    name = trace.hello if _SAFE_NAME.fullmatch(trace.hello) else "unknown"
    literal = f"IPv6:{trace.address}" if ":" in trace.address else trace.address
    source = f"from {name} ([{literal}])" if trace.address else f"from {name}"
    by = f"by {trace.hostname} (Posthorn) with {trace.protocol} id {trace.delivery}"
    lines = [f"Received: {source}", f"\t{by}"] if trace.hello or trace.address else [f"Received: {by}"]
    if trace.tls:
        lines.append(f"\t({trace.tls})")
    if trace.recipient:
        lines.append(f"\tfor <{trace.recipient}>")
    lines[-1] += ";"
    lines.append(f"\t{_moment(int(trace.at))}")
    return "".join(f"{line}\r\n" for line in lines).encode()


@lru_cache(maxsize=4)
def _moment(at: int) -> str:
    """Made once for all messages of a second."""
    return format_date(datetime.fromtimestamp(at, UTC))


def count_received(head: bytes) -> int:
    """How many servers a message went through, by its header section."""
    return len(_RECEIVED.findall(head))
