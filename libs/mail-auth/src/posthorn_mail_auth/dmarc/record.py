"""A DMARC record as a value (RFC 7489 6.3). Mistakes in single tags give their defaults, as is asked for there."""

import re
from dataclasses import dataclass
from enum import Enum

from posthorn_mail_auth.remembering import remembering

MAX_RECORD = 16_384
_VERSION = re.compile(rb"[vV][ \t]*=[ \t]*DMARC1[ \t]*(?:;|\Z)")


class Policy(Enum):
    """What is asked to be done, from mild to strict."""

    NONE = "none"
    QUARANTINE = "quarantine"
    REJECT = "reject"


@dataclass(frozen=True, slots=True)
class DmarcRecord:
    """What a domain publishes."""

    policy: Policy
    subdomain_policy: Policy
    strict_spf: bool
    """aspf=s: the domains must be the same, not only of one organization."""
    strict_dkim: bool
    percent: int
    aggregate_reports: tuple[str, ...]
    """rua=, as written."""
    failure_reports: tuple[str, ...]
    """ruf=, as written."""


def is_dmarc(text: bytes) -> bool:
    """Whether a TXT record is a DMARC record (RFC 7489 6.6.3)."""
    return _VERSION.match(text) is not None


@remembering
def parse_record(text: bytes) -> DmarcRecord | None:
    """Read a record; None when it asks for nothing that is known (RFC 7489 6.6.3)."""
    tags: dict[str, str] = {}
    for piece in text[:MAX_RECORD].decode("ascii", "replace").split(";")[:100]:
        name, equals, value = piece.partition("=")
        if equals:
            tags.setdefault(name.strip().lower(), value.strip())
    reports = _list(tags.get("rua", ""))
    policy = _policy(tags.get("p"))
    subdomains = _policy(tags.get("sp"))
    if policy is None or ("sp" in tags and subdomains is None):
        if not reports:
            return None
        policy = subdomains = Policy.NONE
    percent = tags.get("pct", "")
    return DmarcRecord(
        policy=policy,
        subdomain_policy=subdomains or policy,
        strict_spf=tags.get("aspf", "r").lower() == "s",
        strict_dkim=tags.get("adkim", "r").lower() == "s",
        percent=int(percent) if re.fullmatch("[0-9]{1,3}", percent) and int(percent) <= 100 else 100,
        aggregate_reports=reports,
        failure_reports=_list(tags.get("ruf", "")),
    )


def _policy(text: str | None) -> Policy | None:
    try:
        return Policy((text or "").lower())
    except ValueError:
        return None


def _list(text: str) -> tuple[str, ...]:
    return tuple(filter(None, (uri.strip() for uri in text.split(","))))[:10]
