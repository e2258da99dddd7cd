"""Settings of [smtp-in.filter."NAME"]: who is asked about messages, for whom, how long, and what the answer may do."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from posthorn_node.settings import Duration, Section, Size, parse_bind, refused
from posthorn_node.settings.client_tls import ClientTlsSettings


def _address(value: Any) -> str:
    text = value if isinstance(value, str) else ""
    if text.startswith("unix:"):
        path = text.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > 107 or "\0" in path:  # the length of sun_path in Linux
            raise refused('not a socket: write its whole path, such as "unix:/run/clamav/clamd.ctl"')
        return text
    try:
        host, port = parse_bind(text)
    except ValueError as error:
        raise refused(f'{error}, or "unix:" and the path of a socket') from None
    if not host or not port:
        raise refused('not an address to connect to: write "host:port", or "unix:" and the path of a socket')
    return text


FilterAddress = Annotated[str, BeforeValidator(_address)]
"""host:port, or unix:/path of a socket; read it with `place_of`."""
Score = Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)]


def place_of(address: str) -> tuple[str, int] | Path:
    """Host and port, or the path of a Unix socket."""
    if address.startswith("unix:"):
        return Path(address.removeprefix("unix:"))
    return parse_bind(address)


class FilterTls(ClientTlsSettings):
    """[smtp-in.filter."NAME".tls]."""

    enable: bool = False


class ScanTimes(Section):
    """[smtp-in.filter."NAME".timeouts] of filters that are asked once, at the end of a message."""

    connect: Annotated[Duration, Field(gt=0, le=60)] = 5.0
    """Also for one of its connections to become free."""
    answer: Annotated[Duration, Field(gt=0, le=300)] = 30.0
    """For sending the message and its answer; clients wait 10 minutes for the reply (RFC 5321 4.5.3.2.6)."""


class AnyFilterSettings(Section):
    """The keys of every filter."""

    address: FilterAddress
    tls: FilterTls = FilterTls()
    listeners: tuple[str, ...] = ()
    """Names of listeners; empty: all of the protocol smtp."""
    on_failure: Literal["closed", "open"] = "closed"
    """Whether a message is deferred, or taken as if it had passed, when the filter fails."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.tls.enable and self.address.startswith("unix:"):
            raise refused("a Unix socket is spoken to without TLS", "tls")
        return self


class ScannerSettings(AnyFilterSettings):
    """The keys of filters that see a message once, when it is complete."""

    max_size: Annotated[Size, Field(ge=1)] = 50 << 20
    """Octets; larger messages are not shown."""
    connections: Annotated[int, Field(ge=1, le=10_000)] = 20
    """Messages of one process that are scanned at once; more wait."""
    timeouts: ScanTimes = ScanTimes()


class ClamdSettings(ScannerSettings):
    """clamd, the daemon of ClamAV."""

    type: Literal["clamd"]
    max_size: Annotated[Size, Field(ge=1)] = 100 << 20
    """Octets; larger messages are not shown. clamd has a limit of its own, StreamMaxLength."""
    infected: Literal["reject", "junk", "discard"] = "reject"


class SpamdSettings(ScannerSettings):
    """spamd, the daemon of SpamAssassin."""

    type: Literal["spamd"]
    max_size: Annotated[Size, Field(ge=1)] = 512 << 10
    """Octets; larger messages are not shown."""
    user: Annotated[str, Field(pattern=r"^[^\x00-\x20\x7f]{0,255}$")] = ""
    """Whose preferences count; empty: nobody's."""
    command: Literal["symbols", "check", "headers"] = "symbols"
    """With "headers" the X-Spam-* fields are those that SpamAssassin writes."""
    junk_score: Score | None = None
    """None: as spamd says."""
    reject_score: Score | None = None
    """None: nothing is refused."""
    write_fields: bool = True


class RspamdSettings(ScannerSettings):
    """rspamd, spoken to by HTTP."""

    type: Literal["rspamd"]
    password: SecretStr = SecretStr("")
    junk_score: Score | None = None
    """None: as rspamd's action says; so the next."""
    reject_score: Score | None = None
    write_fields: bool = True
    change_fields: bool = True
    """Whether fields that rspamd adds and removes are added and removed."""


MilterStage = Literal["connect", "helo", "mail", "rcpt", "data"]


class MilterTimes(Section):
    """[smtp-in.filter."NAME".timeouts] of milters."""

    connect: Annotated[Duration, Field(gt=0, le=60)] = 5.0
    """Also for one of its connections to become free."""
    command: Annotated[Duration, Field(gt=0, le=240)] = 30.0
    """For the answer to a command of the client."""
    content: Annotated[Duration, Field(gt=0, le=240)] = 60.0
    """For the answer to each part of a message, or the next sign of progress."""


class MilterSettings(AnyFilterSettings):
    """A program that speaks Sendmail's milter protocol."""

    type: Literal["milter"]
    stages: Annotated[tuple[MilterStage, ...], Field(min_length=1)] = ("connect", "helo", "mail", "rcpt", "data")
    """At which it is asked; what it is not asked about at once it is told ahead of the next."""
    changes: tuple[Literal["headers", "body", "sender", "recipients"], ...] = ("headers",)
    """What it may change."""
    max_size: Annotated[Size, Field(ge=1)] = 50 << 20
    """Octets; larger messages are not shown."""
    connections: Annotated[int, Field(ge=1, le=100_000)] = 500
    """Of one process; each session has one of its own."""
    timeouts: MilterTimes = MilterTimes()


FilterName = Annotated[str, Field(pattern=r"^[A-Za-z0-9_.-]{1,64}$")]
"""It stands in header fields, in the log and in metrics."""
FilterSettings = Annotated[ClamdSettings | MilterSettings | RspamdSettings | SpamdSettings, Field(discriminator="type")]
