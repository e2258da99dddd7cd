"""Nouns of TLS reports (RFC 8460): what owners of domains are told about sessions with their servers."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

PolicyType: TypeAlias = Literal["tlsa", "sts", "no-policy-found"]


@dataclass(frozen=True, slots=True)
class TlsReporting:
    """A domain, in A-labels, and the URIs that its record at _smtp._tls names (RFC 8460 3)."""

    domain: str
    reports_to: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class TlsPolicy:
    """What a session was judged by (RFC 8460 4.4)."""

    type: PolicyType
    domain: str
    """Of MTA-STS the recipients', of DANE the base domain of the TLSA records (RFC 8460 1.1)."""
    strings: tuple[str, ...] = ()
    mx: tuple[str, ...] = ()
    """Patterns of MTA-STS."""


@dataclass(frozen=True, slots=True)
class TlsSession:
    """One session, or the reason why there was none."""

    policy: TlsPolicy
    result: str = ""
    """A result type of RFC 8460 4.3; "": it went well."""
    reason: str = ""
    """In our own words."""
    sending_ip: str = ""
    receiving_host: str = ""
    receiving_ip: str = ""
