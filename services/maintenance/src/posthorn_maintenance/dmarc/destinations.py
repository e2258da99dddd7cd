"""Who gets an aggregate report: the addresses of rua=, as far as their domains want to have it (RFC 7489 6.2, 7.1)."""

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

from posthorn_mail_format.addresses import parse_mailbox
from posthorn_model.errors import InvalidAddress, Unavailable
from posthorn_model.queue_items import site_of
from posthorn_model.resolving import Resolver

MOST: Final = 5
"""Addresses of one report; RFC 7489 6.2 asks for two at least."""
_LIMIT = re.compile(r"!([0-9]{1,12})([kmgt]?)$", re.IGNORECASE)
_VERSION = re.compile(r"v\s*=\s*DMARC1\s*(;|$)", re.IGNORECASE)
_UNITS: Final = {"": 0, "k": 10, "m": 20, "g": 30, "t": 40}


@dataclass(frozen=True, slots=True)
class Destination:
    """An address, its domain in A-labels, and the most octets that it takes; None: as many as there are."""

    address: str
    site: str
    limit: int | None = None


def named(uris: Iterable[str]) -> Sequence[Destination]:
    """The mail addresses among URIs of rua=, each once, at most MOST; what is none of these is left out."""
    found: dict[str, Destination] = {}
    for uri in uris:
        scheme, colon, rest = uri.strip().partition(":")
        if not colon or scheme.lower() != "mailto":
            continue
        limit = _LIMIT.search(rest)
        address = unquote(rest[: limit.start()] if limit else rest.partition("?")[0])
        try:
            parse_mailbox(address, smtputf8=False)
        except InvalidAddress:
            continue
        site = site_of(address)
        if site and not site.startswith("[") and len(found) < MOST:
            octets = int(limit[1]) << _UNITS[limit[2].lower()] if limit else None
            found.setdefault(address, Destination(address, site, octets))
    return list(found.values())


async def willing(
    resolver: Resolver, domain: str, uris: Sequence[str], organization: Callable[[str], str]
) -> Sequence[Destination]:
    """Those of `uris` that reports on `domain` may be sent to.

    An address in another organization gets them when its domain says so at DOMAIN._report._dmarc, which may also name
    another address of its own instead (RFC 7489 7.1). Raises Unavailable when DNS does not answer.
    """
    found: dict[str, Destination] = {}
    for wanted in named(uris):
        if organization(wanted.site) == organization(domain):
            found.setdefault(wanted.address, wanted)
            continue
        answer = await resolver.texts(f"{domain}._report._dmarc.{wanted.site}")
        if answer.failed:
            raise Unavailable(f"DNS does not say whether {wanted.site} wants reports on {domain}")
        texts = [text.decode("ascii", "replace") for text in answer.records]
        agreed = [text for text in texts if _VERSION.match(text)]
        if len(agreed) == 1:
            for each in _instead(agreed[0], wanted):
                found.setdefault(each.address, each)
    return list(found.values())[:MOST]


def _instead(text: str, wanted: Destination) -> Sequence[Destination]:
    """What a domain that agrees names in place of an address; only addresses at the same host count."""
    for tag in text.split(";")[:100]:
        name, _, value = tag.partition("=")
        if name.strip().lower() == "rua":
            return [each for each in named(value.split(",")[:10]) if each.site == wanted.site]
    return [wanted]
