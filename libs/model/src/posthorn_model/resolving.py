"""The port to DNS: what was asked for, or why there is none of it. Asking never raises and takes bounded time."""

from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Address, IPv6Address
from typing import Generic, Protocol, TypeVar

Record = TypeVar("Record", covariant=True)


class Outcome(Enum):
    """How a question ended."""

    RECORDS = "records"
    NO_DATA = "no-data"
    """The name exists, without records of that type."""
    NO_NAME = "no-name"
    """NXDOMAIN."""
    FAILED = "failed"
    """No answer in time, SERVFAIL, or one that makes no sense: asking again later may help."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[Record]):
    """The records of one question, in no order; empty unless the outcome is RECORDS."""

    outcome: Outcome
    records: tuple[Record, ...] = ()
    authentic: bool = False
    """Validated by DNSSEC (RFC 4035 3.2.3), of what is not there too; False where nobody is believed in it."""
    canonical: str = ""
    """The name that has the records, where aliases led there."""

    @property
    def failed(self) -> bool:
        """Nothing is known, neither that there are records nor that there are none."""
        return self.outcome is Outcome.FAILED


@dataclass(frozen=True, slots=True)
class MailExchanger:
    """One MX record; lower preference comes first. The host is in lower case, without the last dot; "" is the root."""

    preference: int
    host: str


class Resolver(Protocol):
    """Asks DNS. Names are absolute with or without the last dot; one that DNS cannot hold does not exist (NO_NAME)."""

    async def texts(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each put together without a space (RFC 7208 3.3)."""
        ...

    async def ipv4(self, name: str) -> Answer[IPv4Address]:
        """A records."""
        ...

    async def ipv6(self, name: str) -> Answer[IPv6Address]:
        """AAAA records."""
        ...

    async def exchangers(self, name: str) -> Answer[MailExchanger]:
        """MX records."""
        ...

    async def names_of(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        """PTR records of an address: host names in lower case, without the last dot."""
        ...
