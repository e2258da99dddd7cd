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
from posthorn_mail_auth.spf.checking import SpfResult
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


@dataclass(frozen=True, slots=True)
class Early:
    """What is found without the content; None for a check that was not made."""

    iprev: IprevResult | None = None
    spf: SpfResult | None = None


@dataclass(frozen=True, slots=True)
class Gatherer:
    """What all checks need."""

    resolver: Resolver
    settings: AuthenticationSettings
    clock: Clock
    log: FilteringBoundLogger

    async def early(self, claims: Claims) -> Early:
        """What the client's address, its greeting and the sender tell: asked for while the content arrives."""
        return Early(
            *await asyncio.gather(
                _nothing()
                if self.settings.iprev == "off"
                else self.within(iprev.check(self.resolver, claims.address), IprevResult(iprev.Result.TEMPERROR)),
                _nothing()
                if self.settings.spf == "off"
                else self.within(_spf(self.resolver, claims, self.clock), _spf_late(claims)),
            )
        )

    async def gather(
        self, claims: Claims, message: Message, early: Awaitable[Early], suffixes: PublicSuffixes
    ) -> AuthenticationFacts:
        """The facts; DMARC needs what the others found, and asks for its records meanwhile."""
        settings, resolver = self.settings, self.resolver
        domains = author_domains(message) if settings.dmarc != "off" else ()
        unknown = tuple(Published(domain, failed=True) for domain in domains if domain)
        found, found_dkim, found_arc, published = await asyncio.gather(
            early,
            _nothing()
            if settings.dkim == "off"
            else self.within(
                verify(message, resolver, now=self.clock.time()), (SignatureResult(Dkim.TEMPERROR, LATE),)
            ),
            _nothing()
            if settings.arc == "off"
            else self.within(validate(message, resolver), ArcResult(Arc.TEMPERROR, LATE)),
            _nothing() if settings.dmarc == "off" else self.within(discover(resolver, domains, suffixes), unknown),
        )
        judged: DmarcResult | None = None
        if published is not None:
            judged = evaluate(
                domains,
                published,
                spf=found.spf,
                dkim=found_dkim or (),
                suffixes=suffixes,
                draw=random.random(),  # noqa: S311 (a sample, not a secret)
            )
        return AuthenticationFacts(claims.address, found.iprev, found.spf, found_dkim, found_arc, judged)

    async def within(self, check: Awaitable[Known], otherwise: Known) -> Known:
        """What a check finds in its time; whatever fails is `otherwise`."""
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await check
        except TimeoutError:
            return otherwise
        except Exception:
            self.log.exception("a check of authentication has failed")
            return otherwise


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
