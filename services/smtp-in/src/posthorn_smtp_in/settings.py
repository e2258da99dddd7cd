"""Settings of [smtp-in]: limits, time limits and what content may hold."""

from typing import Annotated, TypeVar

from pydantic import Field

from posthorn_node.settings import Duration, Network, Section, ServiceSettings, Size
from posthorn_smtp_in.filters.settings import FilterName, FilterSettings
from posthorn_smtp_in.judging.settings import AuthenticationSettings
from posthorn_smtp_in.rates.settings import RateSettings
from posthorn_smtp_in.submission.settings import SubmissionSettings

Recipients = Annotated[int, Field(ge=100, le=100_000)]
Transactions = Annotated[int, Field(ge=1, le=1_000_000)]
Errors = Annotated[int, Field(ge=1, le=1000)]
Authentications = Annotated[int, Field(ge=1, le=100)]
MessageSize = Annotated[Size, Field(ge=65536)]
MaxReceived = Annotated[int, Field(ge=10, le=1000)]
Wait = Annotated[Duration, Field(gt=0)]


class SessionLimits(Section):
    """[smtp-in.limits]: what one client may take."""

    connections: Annotated[int, Field(ge=1, le=1_000_000)] = 8192
    """In the whole process."""
    connections_per_address: Annotated[int, Field(ge=1, le=1_000_000)] = 512
    recipients: Recipients = 1000
    """Per transaction; RFC 5321 4.5.3.1.8 asks for at least 100."""
    transactions: Transactions = 1000
    """Per connection."""
    errors: Errors = 20
    """Refused commands of one connection before it is closed."""
    authentications: Authentications = 5
    """Failed AUTH commands of one connection before it is closed."""
    large_deliveries: Annotated[int, Field(ge=1, le=1000)] = 4
    """Spooled messages that are scanned and stored at once; each takes three times its size in the spool folder."""
    content_in_memory: Annotated[Size, Field(ge=4096)] = 1 << 20
    """Octets of a message kept in memory; more goes to a spool file."""


class SessionTimes(Section):
    """[smtp-in.timeouts]: how long is waited (RFC 5321 4.5.3.2.7 asks for 5 minutes for a command)."""

    command: Wait = 300.0
    content: Wait = 180.0
    """For the next octets of content."""
    session: Wait = 3600.0
    """For the whole connection, so that a slow sender cannot stay for ever."""
    tls: Wait = 30.0
    """For a TLS handshake."""
    write: Wait = 60.0
    """For a client to take our replies."""


class ListenerLimits(Section):
    """[smtp-in.listener."NAME".limits]: what is left out is as in [smtp-in.limits]."""

    recipients: Recipients | None = None
    transactions: Transactions | None = None
    errors: Errors | None = None
    authentications: Authentications | None = None


class ListenerTimes(Section):
    """[smtp-in.listener."NAME".timeouts]: what is left out is as in [smtp-in.timeouts]."""

    command: Wait | None = None
    content: Wait | None = None
    session: Wait | None = None
    tls: Wait | None = None
    write: Wait | None = None


class OwnSettings(Section):
    """[smtp-in.listener."NAME"]: what one listener has otherwise than [smtp-in] says."""

    max_message_size: MessageSize | None = None
    allow_long_lines: bool | None = None
    max_received: MaxReceived | None = None
    limits: ListenerLimits = ListenerLimits()
    timeouts: ListenerTimes = ListenerTimes()


class RelaySettings(Section):
    """[smtp-in.relay]: who may send to other domains; logins on submission always may."""

    networks: Annotated[tuple[Network, ...], Field(max_length=1000)] = ()
    """Clients of listeners of the protocol smtp that need no login."""
    sign: bool = False
    """Whether the DKIM keys of the envelope sender's domain sign what they send."""


class SmtpInSettings(ServiceSettings):
    """[smtp-in]."""

    max_message_size: MessageSize = 52_428_800
    """Octets; RFC 5321 4.5.3.1.7 asks for at least 64 K."""
    allow_long_lines: bool = False
    """Accept lines over 998 octets."""
    max_received: MaxReceived = 100
    """Received fields that make a message a loop (RFC 5321 6.3)."""
    duplicate_window: Annotated[Duration, Field(ge=0)] = 300.0
    """How long a delivery whose reply may be lost suppresses its repeat."""
    filter: dict[FilterName, FilterSettings] = Field(default_factory=dict)
    """Content filters by name; milters are asked in this order."""
    auth: AuthenticationSettings = AuthenticationSettings()
    limits: SessionLimits = SessionLimits()
    rates: RateSettings = RateSettings()
    relay: RelaySettings = RelaySettings()
    submission: SubmissionSettings = SubmissionSettings()
    timeouts: SessionTimes = SessionTimes()
    listener: dict[str, OwnSettings] = Field(default_factory=dict)
    """By the names of [server.listener]."""

    def at(self, listener: str) -> "SmtpInSettings":
        """These settings as they are on one listener."""
        own = self.listener.get(listener)
        if own is None:
            return self
        parts = {"limits": _over(self.limits, own.limits), "timeouts": _over(self.timeouts, own.timeouts)}
        return _over(self, own).model_copy(update=parts)


SectionT = TypeVar("SectionT", bound=Section)


def _over(common: SectionT, own: Section) -> SectionT:
    """The common values, and over them those that are set in `own`."""
    return common.model_copy(update={name: value for name, value in own if value is not None})
