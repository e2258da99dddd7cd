"""Commands as values: one frozen dataclass for each verb, read from one line. Knows no state and no policy."""

from dataclasses import dataclass
from enum import StrEnum

from posthorn_smtp_in.protocol.requests import NOTHING, Requests


class Verb(StrEnum):
    """The verbs the state table speaks of."""

    EHLO = "EHLO"
    HELO = "HELO"
    LHLO = "LHLO"
    MAIL = "MAIL"
    RCPT = "RCPT"
    DATA = "DATA"
    BDAT = "BDAT"
    RSET = "RSET"
    NOOP = "NOOP"
    QUIT = "QUIT"
    VRFY = "VRFY"
    EXPN = "EXPN"
    HELP = "HELP"
    STARTTLS = "STARTTLS"
    AUTH = "AUTH"


@dataclass(frozen=True, slots=True)
class Hello:
    """EHLO, HELO or LHLO with the client's name for itself, as given."""

    verb: Verb
    name: str


@dataclass(frozen=True, slots=True)
class Mail:
    """MAIL FROM with its parameters; `sender` is "" for the null reverse-path."""

    sender: str
    size: int = 0
    """Declared by SIZE (RFC 1870), 0 when not declared."""
    eight_bit: bool = False
    smtputf8: bool = False
    ret: str | None = None
    envid: str | None = None
    """As on the wire, in xtext (RFC 3461 4.4)."""
    requests: Requests = NOTHING
    """What it asks of the queue, whether that is offered or not."""
    verb: Verb = Verb.MAIL


@dataclass(frozen=True, slots=True)
class Rcpt:
    """RCPT TO with the DSN parameters as on the wire (RFC 3461 4.1, 4.2)."""

    recipient: str
    notify: str | None = None
    orcpt: str | None = None
    verb: Verb = Verb.RCPT


@dataclass(frozen=True, slots=True)
class Bdat:
    """One chunk of `size` octets follows (RFC 3030 2)."""

    size: int
    last: bool
    verb: Verb = Verb.BDAT


@dataclass(frozen=True, slots=True)
class Auth:
    """AUTH with its mechanism in upper case; `initial` is the SASL-IR response in base64, None when there is none."""

    mechanism: str
    initial: str | None
    verb: Verb = Verb.AUTH


@dataclass(frozen=True, slots=True)
class Bare:
    """A verb without an argument that matters: DATA, RSET, NOOP, QUIT, VRFY, EXPN, HELP, STARTTLS."""

    verb: Verb
    argument: str = ""


Command = Hello | Mail | Rcpt | Bdat | Auth | Bare
