"""What a remote says it can do, from its EHLO reply."""

from dataclasses import dataclass

from posthorn_smtp_out.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class Capabilities:
    """The extensions this client uses; all off after HELO."""

    pipelining: bool = False
    eight_bit: bool = False
    smtputf8: bool = False
    dsn: bool = False
    starttls: bool = False
    size: int | None = None
    """Limit in octets; 0 means no fixed limit (RFC 1870 4); None: the extension is not offered."""
    deliver_by: bool = False
    min_by: int = 0
    """The shortest time in seconds that the remote takes with by-mode R (RFC 2852 4); 0: any."""
    priority: bool = False
    require_tls: bool = False
    auth: frozenset[str] = frozenset()
    chunking: bool = False
    lmtp: bool = False
    """Each recipient that was accepted gets a reply of its own to the content (RFC 2033 4.2)."""


def read_capabilities(reply: Reply) -> Capabilities:
    """Read the lines behind the first; unknown keywords are skipped."""
    words = [line.upper().split() for line in reply.lines[1:]]
    offered = {line[0]: line[1:] for line in words if line}
    size = None
    if "SIZE" in offered:
        given = offered["SIZE"][0] if offered["SIZE"] else ""
        size = int(given) if given.isascii() and given.isdigit() and len(given) <= 20 else 0
    return Capabilities(
        pipelining="PIPELINING" in offered,
        eight_bit="8BITMIME" in offered,
        smtputf8="SMTPUTF8" in offered,
        dsn="DSN" in offered,
        starttls="STARTTLS" in offered,
        size=size,
        deliver_by="DELIVERBY" in offered,
        min_by=_seconds(offered.get("DELIVERBY", [])),
        priority="MT-PRIORITY" in offered,
        require_tls="REQUIRETLS" in offered,
        auth=frozenset(offered.get("AUTH", ())),
        chunking="CHUNKING" in offered,
    )


def _seconds(words: list[str]) -> int:
    given = words[0] if words else ""
    return int(given) if given.isascii() and given.isdigit() and len(given) <= 9 else 0
