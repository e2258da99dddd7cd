"""Settings of [smtp-in]: limits, time limits and what content may hold."""

from typing import Annotated

from pydantic import Field

from posthorn_node.settings import Duration, Section, Size


class SessionLimits(Section):
    """[smtp-in.limits]: what one client may take."""

    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """In the whole process."""
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    recipients: Annotated[int, Field(ge=100, le=100_000)] = 1000
    """Per transaction; RFC 5321 4.5.3.1.8 asks for at least 100."""
    transactions: Annotated[int, Field(ge=1, le=1_000_000)] = 1000
    """Per connection."""
    errors: Annotated[int, Field(ge=1, le=1000)] = 20
    """Refused commands of one connection before it is closed."""
    authentications: Annotated[int, Field(ge=1, le=100)] = 5
    """Failed AUTH commands of one connection before it is closed."""
    large_deliveries: Annotated[int, Field(ge=1, le=1000)] = 4
    """Spooled messages that are scanned and stored at once; each takes its size in memory."""
    content_in_memory: Annotated[Size, Field(ge=4096)] = 1 << 20
    """Octets of a message kept in memory; more goes to a spool file."""


class SessionTimes(Section):
    """[smtp-in.timeouts]: how long is waited (RFC 5321 4.5.3.2.7 asks for 5 minutes for a command)."""

    command: Annotated[Duration, Field(gt=0)] = 300.0
    content: Annotated[Duration, Field(gt=0)] = 180.0
    """For the next octets of content."""
    session: Annotated[Duration, Field(gt=0)] = 3600.0
    """For the whole connection, so that a slow sender cannot stay for ever."""
    tls: Annotated[Duration, Field(gt=0)] = 30.0
    """For a TLS handshake."""
    write: Annotated[Duration, Field(gt=0)] = 60.0
    """For a client to take our replies."""


class SmtpInSettings(Section):
    """[smtp-in]."""

    max_message_size: Annotated[Size, Field(ge=65536)] = 52_428_800
    """Octets; RFC 5321 4.5.3.1.7 asks for at least 64 K."""
    allow_long_lines: bool = False
    """Accept lines over 998 octets."""
    max_received: Annotated[int, Field(ge=10, le=1000)] = 100
    """Received fields that make a message a loop (RFC 5321 6.3)."""
    duplicate_window: Annotated[Duration, Field(ge=0)] = 300.0
    """How long a delivery whose reply may be lost suppresses its repeat."""
    limits: SessionLimits = SessionLimits()
    timeouts: SessionTimes = SessionTimes()
