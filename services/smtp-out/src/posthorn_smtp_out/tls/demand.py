"""What a next hop must show under TLS, from what the settings, the message, DNSSEC and MTA-STS say of it. Pure.

In this order:
1. Settings for the domain itself replace whatever it publishes.
2. DANE, where DNSSEC vouches for the exchanger and its TLSA records. It is never weakened by MTA-STS (RFC 8461 2).
3. MTA-STS (RFC 8461). A policy in testing asks for nothing, but what does not agree with it is noticed.
4. The setting for everybody, which what is published may only raise.
A message with REQUIRETLS needs 2 or 3, or an exchanger that DNSSEC vouches for, and then always a certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Final

from posthorn_mail_auth.dane import Tlsa, usable
from posthorn_mail_auth.mta_sts import allows
from posthorn_model.mta_sts import StsPolicy
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_smtp_out.resolver import NoRoute


class Level(IntEnum):
    """Each is stricter than the one before."""

    NONE = 0
    """Plain text."""
    OPPORTUNISTIC = 1
    """TLS where it is offered and works, with whomever."""
    ENCRYPT = 2
    """TLS, with whomever."""
    CERTIFICATE = 3
    """TLS, with a certificate for the host's name by a known authority."""
    DANE = 4
    """TLS, with a certificate that the TLSA records vouch for."""


LEVELS: Final = {
    "none": Level.NONE,
    "opportunistic": Level.OPPORTUNISTIC,
    "encrypt": Level.ENCRYPT,
    "required": Level.CERTIFICATE,
    "dane": Level.DANE,
}
UNVERIFIED: Final = Reply(550, ("5.7.30 REQUIRETLS, and nothing vouches for the mail exchangers of the destination",))


@dataclass(frozen=True, slots=True)
class Demand:
    """What one host must show. `because` names who asks for it, in replies that people read."""

    level: Level
    because: str = "the settings"
    name: str = ""
    """The name that the handshake asks for, and that the certificate must have unless DANE decides."""
    tlsa: tuple[Tlsa, ...] = ()
    names: tuple[str, ...] = ()
    """Any of them will do for DANE-TA (RFC 7672 3.2.2)."""
    tried: bool = False
    """A certificate for `name` is looked for first, and done without: MTA-STS is in testing."""


@dataclass(frozen=True, slots=True)
class Site:
    """What is known of a destination before its exchangers are looked at."""

    name: str
    floor: Level
    own: bool = False
    """`floor` was set for this very domain."""
    secure: bool = False
    """DNSSEC vouches for the names of its exchangers."""
    require_tls: bool = False
    sts: StsPolicy | None = None


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of one exchanger; `tlsa` came by DNSSEC and was found at `base`."""

    name: str
    base: str = ""
    tlsa: Sequence[Tlsa] = ()


def demand(site: Site, host: Host) -> Demand:
    """What to ask of this exchanger. Raises NoRoute when it may not be used at all."""
    records = tuple(usable(host.tlsa))
    if records and _wants_dane(site):
        names = tuple(dict.fromkeys((host.base, host.name, site.name)))
        return Demand(Level.DANE, "DANE", host.base, records, names)
    if site.floor is Level.DANE:
        raise NoRoute(Reply(451, (f"4.7.0 DANE is set for {site.name}, and {host.name} has no usable TLSA records",)))
    mode = site.sts.mode if site.sts is not None else "none"
    promised = mode != "none" and site.sts is not None and allows(site.sts, host.name)
    if mode == "enforce" and not promised:
        raise NoRoute(Reply(451, (f"4.7.5 MTA-STS: {host.name} is no exchanger by the policy of {site.name}",)))
    if site.require_tls:
        if not (site.secure or promised):
            raise NoRoute(UNVERIFIED)
        return Demand(Level.CERTIFICATE, "REQUIRETLS", host.name)
    if mode == "enforce":
        return Demand(Level.CERTIFICATE, "MTA-STS", host.name)
    level, because = site.floor, "the settings"
    if host.tlsa and _wants_dane(site) and level < Level.ENCRYPT:
        # RFC 7672 2.2: records that nobody can match still promise TLS.
        level, because = Level.ENCRYPT, "DANE"
    return Demand(level, because, host.name, tried=promised and level < Level.CERTIFICATE)


def _wants_dane(site: Site) -> bool:
    if site.own:
        return site.floor is Level.DANE or site.require_tls
    return site.floor is not Level.NONE or site.require_tls
