"""What a next hop must show under TLS, from what the settings, the message, DNSSEC and MTA-STS say of it. Pure.

In this order:
1. Settings for the domain itself replace whatever it publishes.
2. DANE, where DNSSEC vouches for the exchanger and its TLSA records. It is never weakened by MTA-STS (RFC 8461 2).
3. MTA-STS (RFC 8461). A policy in testing asks for nothing, but what does not agree with it is noticed.
4. The setting for everybody, which what is published may only raise.
A message that needs no TLS (RFC 8689 4.1) is sent by the settings alone.
A message with REQUIRETLS needs 2 or 3, or an exchanger that DNSSEC vouches for, and then always a certificate.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final

from posthorn_mail_auth.dane import Tlsa, usable
from posthorn_mail_auth.mta_sts import allows
from posthorn_model.mta_sts import StsPolicy
from posthorn_model.tls_reports import TlsPolicy
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
MAX_STRING: Final = 300
"""Characters of a TLSA record that are reported."""
UNVERIFIED: Final = Reply(550, ("5.7.30 REQUIRETLS, and nothing vouches for the mail exchangers of the destination",))


class NotPromised(NoRoute):
    """An exchanger that the domain's MTA-STS policy does not name (RFC 8461 4.1)."""

    def __init__(self, site: str, host: str) -> None:
        super().__init__(Reply(451, (f"4.7.5 MTA-STS: {host} is no exchanger by the policy of {site}",)))


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
    site: str = ""
    policy: TlsPolicy | None = None
    """Whom a report on the session is for, and what it was judged by; None: it is in no report."""


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
    relaxed: bool = False
    """The message says that it needs no TLS: what is published does not count (RFC 8689 4.1)."""

    @property
    def published(self) -> TlsPolicy | None:
        """What the domain publishes by MTA-STS, for reports; None where it does not count."""
        if self.own or self.relaxed or self.floor is Level.NONE:
            return None
        if self.sts is None or self.sts.mode == "none":
            return TlsPolicy("no-policy-found", self.name)
        return TlsPolicy("sts", self.name, self.sts.lines(), self.sts.mx)


@dataclass(frozen=True, slots=True)
class Host:
    """What is known of one exchanger; `tlsa` came by DNSSEC and was found at `base`."""

    name: str
    base: str = ""
    tlsa: Sequence[Tlsa] = ()


def demand(site: Site, host: Host) -> Demand:
    """What to ask of this exchanger. Raises NoRoute when it may not be used at all."""
    found = _demand(site, host)
    if site.published is None:
        return found
    if found.level is Level.DANE:
        policy = TlsPolicy("tlsa", host.base, tuple(str(record)[:MAX_STRING] for record in found.tlsa))
        return replace(found, site=site.name, policy=policy)
    return replace(found, site=site.name, policy=site.published)


def _demand(site: Site, host: Host) -> Demand:
    records = tuple(usable(host.tlsa))
    if records and _wants_dane(site):
        names = tuple(dict.fromkeys((host.base, host.name, site.name)))
        return Demand(Level.DANE, "DANE", host.base, records, names)
    if site.floor is Level.DANE:
        raise NoRoute(Reply(451, (f"4.7.0 DANE is set for {site.name}, and {host.name} has no usable TLSA records",)))
    mode = site.sts.mode if site.sts is not None else "none"
    promised = mode != "none" and site.sts is not None and allows(site.sts, host.name)
    if mode == "enforce" and not promised:
        raise NotPromised(site.name, host.name)
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
    return not site.relaxed and (site.floor is not Level.NONE or site.require_tls)
