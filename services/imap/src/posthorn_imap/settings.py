"""Settings of [imap]: limits, time limits and what a client may keep waiting."""

from typing import Annotated, Self

from pydantic import Field, model_validator

from posthorn_node.settings import Duration, Section, ServiceSettings, Size
from posthorn_node.settings.comparison import all_but
from posthorn_node.settings.values import refused


class SessionLimits(Section):
    """[imap.limits]: what one client may take."""

    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """In the whole process."""
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 1024
    messages: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    """That one command may be about (RFC 9738); 0: any number."""
    saved_messages: Annotated[int, Field(ge=0, le=4_294_967_295)] = 0
    """That one COPY or APPEND may be about, where only those have a limit; 0: any number."""
    connections_per_account: Annotated[int, Field(ge=1, le=1_000_000)] = 128
    """Logged in on this process."""
    line: Annotated[Size, Field(ge=8192, le=16_777_216)] = 65536
    """Octets of text in one command."""
    literal: Annotated[Size, Field(ge=4096, le=16_777_216)] = 262_144
    """Octets of literals in one command, other than the message of APPEND."""
    append_memory: Annotated[Size, Field(ge=1_048_576)] = 268_435_456
    """Octets of messages in APPEND commands of all clients of the process at once."""
    body_memory: Annotated[Size, Field(ge=1_048_576)] = 268_435_456
    """Octets of messages being sent to all clients of the process at once; further FETCH commands wait in turn."""
    compressed: Annotated[int, Field(ge=1, le=1_000_000)] = 2048
    """Connections that compress (RFC 4978), in the whole process; each holds about 110 KB for it."""
    garbage: Annotated[int, Field(ge=1, le=1000)] = 3
    """Lines in a row that are no commands at all, before the connection is closed."""
    errors: Annotated[int, Field(ge=1, le=10_000)] = 50
    """BAD responses in a row before the connection is closed."""
    logins: Annotated[int, Field(ge=1, le=100)] = 5
    """Failed logins of one connection before it is closed."""

    @model_validator(mode="after")
    def _one_limit(self) -> Self:
        if self.messages and self.saved_messages:
            raise refused("`messages` holds for what is saved too: set one of the two", "saved-messages")
        return self


class SessionTimes(Section):
    """[imap.timeouts]: how long is waited."""

    login: Annotated[Duration, Field(gt=0)] = 60.0
    """For a client to log in, from its connection on."""
    inactive: Annotated[Duration, Field(gt=0)] = 1860.0
    """Between commands; RFC 9051 5.4 asks for at least 30 minutes."""
    pop3_inactive: Annotated[Duration, Field(gt=0)] = 600.0
    """Between commands of POP3; RFC 1939 3 asks for at least 10 minutes."""
    idle_keepalive: Annotated[Duration, Field(gt=0)] = 120.0
    """Between signs of life to a client in IDLE, so that routers on the way keep the connection."""
    tls: Annotated[Duration, Field(gt=0)] = 30.0
    """For a TLS handshake."""
    write: Annotated[Duration, Field(gt=0)] = 120.0
    """For a client to take what it asked for, without any progress."""
    self_check: Annotated[Duration, Field(gt=0)] = 25.0
    """Between looks for changes that no event told of; a client hears within 30 s whatever the bus does (law 1)."""


class ImapSettings(ServiceSettings):
    """[imap]: for listeners of the protocols imap, pop3 and managesieve."""

    append_limit: Annotated[Size, Field(ge=65536, le=1_073_741_824)] = 52_428_800
    """Octets of one message in APPEND (RFC 7889)."""
    jmap_url: Annotated[str, Field(pattern=r"^(https?://[^\s/\"]+(/[^\s\"]*)?)?$", max_length=1000)] = ""
    """Where the accounts' mail is served by JMAP, which clients are told (RFC 9698)."""
    limits: SessionLimits = SessionLimits()
    timeouts: SessionTimes = SessionTimes()


CHANGEABLE = (
    "imap.append-limit",
    *all_but("imap.limits", SessionLimits, "append-memory", "body-memory", "compressed"),
    *all_but("imap.timeouts", SessionTimes, "self-check"),
)
"""What may change while the process runs: new connections have it."""
