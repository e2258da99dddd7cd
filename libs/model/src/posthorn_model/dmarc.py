"""Nouns of DMARC aggregate reports (RFC 7489 7.2): what owners of domains are told about mail in their name."""

from dataclasses import dataclass
from typing import Literal

Disposition = Literal["none", "quarantine", "reject"]
Alignment = Literal["r", "s"]


@dataclass(frozen=True, slots=True)
class PublishedPolicy:
    """What a domain publishes at _dmarc, and where it wants reports to."""

    domain: str
    """Where the record was found, in A-labels."""
    policy: Disposition
    subdomain_policy: Disposition
    dkim_alignment: Alignment
    spf_alignment: Alignment
    percent: int
    reports_to: tuple[str, ...]
    """URIs as written in rua=, with the size limit that may follow (RFC 7489 6.2)."""


@dataclass(frozen=True, slots=True)
class AuthenticatedDomain:
    """One domain that SPF or DKIM looked at. `detail` is the selector of DKIM, the scope of SPF ("mfrom", "helo")."""

    domain: str
    result: str
    """In the words of RFC 8601: "pass", "fail", "softfail", ..."""
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DmarcObservation:
    """One message: where it came from, what was found, what was done."""

    published: PublishedPolicy
    source: str
    """The client's IP address."""
    disposition: Disposition
    dkim_aligned: bool
    spf_aligned: bool
    header_from: str
    envelope_from: str = ""
    dkim: tuple[AuthenticatedDomain, ...] = ()
    spf: tuple[AuthenticatedDomain, ...] = ()
    override: str = ""
    """Why something else was done than is published, as PolicyOverrideType of RFC 7489 C has it; "": it was not."""
