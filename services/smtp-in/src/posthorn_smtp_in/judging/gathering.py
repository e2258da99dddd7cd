"""Gathers the facts of who sent a message: checks side by side, each with its own time limit; none of them raises."""

import asyncio
import random
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import TypeVar

from structlog.typing import FilteringBoundLogger

from posthorn_mail_auth import iprev
from posthorn_mail_auth.arc.validating import ArcResult, validate
from posthorn_mail_auth.arc.validating import Result as Arc
from posthorn_mail_auth.dkim.verifying import Result as Dkim
from posthorn_mail_auth.dkim.verifying import SignatureResult, verify
from posthorn_mail_auth.dmarc.checking import DmarcResult, Published, author_domains, discover, evaluate
from posthorn_mail_auth.iprev import IprevResult
from posthorn_mail_auth.message import Message
from posthorn_mail_auth.spf import checking as spf
from posthorn_mail_auth.suffixes import PublicSuffixes
from posthorn_model.ports import Clock
from posthorn_model.queue_items import site_of
from posthorn_model.resolving import Resolver
from posthorn_smtp_in.judging.facts import AuthenticationFacts
from posthorn_smtp_in.judging.settings import AuthenticationSettings
from posthorn_smtp_in.spool import Spool

Known = TypeVar("Known")
LATE = "no answer in time"


@dataclass(frozen=True, slots=True)
class SpooledBody:
    """A body as it lies in a spool, read in pieces."""

    spool: Spool
    start: int

    @property
    def size(self) -> int:
        return self.spool.size - self.start

    def read(self, start: int, size: int) -> bytes:
        """Up to `size` octets from `start` on, fewer at the end."""
        return self.spool.read(self.start + start, size)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a client said of itself and of its message, and to whom."""

    address: str
    """The client's IP address."""
    hello: str
    sender: str
    hostname: str
    """Ours."""


async def gather(
    resolver: Resolver,
    suffixes: PublicSuffixes,
    settings: AuthenticationSettings,
    claims: Claims,
    message: Message,
    *,
    clock: Clock,
    log: FilteringBoundLogger,
) -> AuthenticationFacts:
    """The facts; DMARC needs what the others found, and asks for its records meanwhile."""
    domains = author_domains(message) if settings.dmarc != "off" else ()

    async def within(check: Awaitable[Known], otherwise: Known) -> Known:
        try:
            async with asyncio.timeout(settings.timeout):
                return await check
        except TimeoutError:
            return otherwise
        except Exception:
            log.exception("a check of authentication has failed")
            return otherwise

    unknown = tuple(Published(domain, failed=True) for domain in domains if domain)
    found_iprev, found_spf, found_dkim, found_arc, published = await asyncio.gather(
        _nothing()
        if settings.iprev == "off"
        else within(iprev.check(resolver, claims.address), IprevResult(iprev.Result.TEMPERROR)),
        _nothing() if settings.spf == "off" else within(_spf(resolver, claims, clock), _spf_late(claims)),
        _nothing()
        if settings.dkim == "off"
        else within(verify(message, resolver, now=clock.time()), (SignatureResult(Dkim.TEMPERROR, LATE),)),
        _nothing() if settings.arc == "off" else within(validate(message, resolver), ArcResult(Arc.TEMPERROR, LATE)),
        _nothing() if settings.dmarc == "off" else within(discover(resolver, domains, suffixes), unknown),
    )
    judged: DmarcResult | None = None
    if published is not None:
        judged = evaluate(
            domains,
            published,
            spf=found_spf,
            dkim=found_dkim or (),
            suffixes=suffixes,
            draw=random.random(),  # noqa: S311 (a sample, not a secret)
        )
    return AuthenticationFacts(claims.address, found_iprev, found_spf, found_dkim, found_arc, judged)


async def _nothing() -> None:
    """A check that is not made."""


def _sender(claims: Claims) -> str:
    """The sender with its domain in A-labels; one that has none is left for SPF to find no domain in."""
    if not claims.sender:
        return ""
    local, _, domain = claims.sender.rpartition("@")
    return f"{local}@{site_of(claims.sender) or domain}"


async def _spf(resolver: Resolver, claims: Claims, clock: Clock) -> spf.SpfResult:
    return await spf.check(
        resolver,
        address=claims.address,
        sender=_sender(claims),
        hello=claims.hello,
        receiver=claims.hostname,
        clock=clock.time,
    )


def _spf_late(claims: Claims) -> spf.SpfResult:
    sender = _sender(claims)
    domain = (sender or claims.hello).rpartition("@")[2]
    identity = "mailfrom" if sender else "helo"
    return spf.SpfResult(spf.Result.TEMPERROR, domain, identity, sender or claims.hello, LATE)
