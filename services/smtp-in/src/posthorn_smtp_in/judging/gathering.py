"""Gathers the facts of who sent a message: checks side by side, each with its own time limit; none of them raises."""

import asyncio
import random
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, TypeAlias, TypeVar

from structlog.typing import FilteringBoundLogger

from posthorn_mail_auth import iprev
from posthorn_mail_auth.arc.validating import ArcResult, validate
from posthorn_mail_auth.arc.validating import Result as Arc
from posthorn_mail_auth.dkim.verifying import Result as Dkim
from posthorn_mail_auth.dkim.verifying import SignatureResult, verify
from posthorn_mail_auth.dmarc.checking import DmarcResult, Published, author_domains, discover, evaluate
from posthorn_mail_auth.iprev import IprevResult
from posthorn_mail_auth.message import Message
from posthorn_mail_auth.side_by_side import Done, begin, ends_of
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
Wait: TypeAlias = Done[Known] | Coroutine[Any, Any, Known]
"""What a check finds, most often at once."""
NOT_MADE = Done(None)
LATE = "no answer in time"
FAILED = "a check of authentication has failed"


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


class Claims(NamedTuple):
    """What a client said of itself and of its message, and to whom."""

    address: str
    """The client's IP address."""
    hello: str
    sender: str
    hostname: str
    """Ours."""


class Early(NamedTuple):
    """What is found without the content; None for a check that was not made."""

    iprev: IprevResult | None = None
    spf: SpfResult | None = None


@dataclass(frozen=True, slots=True)
class Gatherer:
    """What all checks need."""

    resolver: Resolver
    settings: AuthenticationSettings
    clock: Clock
    log: Callable[[], FilteringBoundLogger]
    """Asked where there is something to say."""

    def early(self, claims: Claims) -> Done[Early] | Coroutine[Any, Any, Early]:
        """What the client's address, its greeting and the sender tell: asked for while the content arrives."""
        settings, resolver = self.settings, self.resolver
        named: Wait[IprevResult | None] = NOT_MADE
        if settings.iprev != "off":
            named = self.within(iprev.check(resolver, claims.address), _iprev_late)
        allowed: Wait[SpfResult | None] = NOT_MADE
        if settings.spf != "off":
            allowed = self.within(_spf(resolver, claims, self.clock), lambda: _spf_late(claims))
        if isinstance(named, Done) and isinstance(allowed, Done):
            return Done(Early(named.answer, allowed.answer))
        return _both(named, allowed)

    async def gather(
        self, claims: Claims, message: Message, early: Awaitable[Early], suffixes: PublicSuffixes
    ) -> AuthenticationFacts:
        """The facts; DMARC needs what the others found, and asks for its records meanwhile."""
        settings, resolver = self.settings, self.resolver
        domains = author_domains(message) if settings.dmarc != "off" else ()
        policies: Wait[tuple[Published, ...] | None] = NOT_MADE
        if settings.dmarc != "off":
            policies = self.within(discover(resolver, domains, suffixes), lambda: _published_late(domains))
        signatures: Wait[tuple[SignatureResult, ...] | None] = NOT_MADE
        if settings.dkim != "off":
            signatures = self.within(verify(message, resolver, now=self.clock.time()), _dkim_late)
        chain: Wait[ArcResult | None] = NOT_MADE
        if settings.arc != "off":
            chain = self.within(validate(message, resolver), _arc_late)
        found: Early
        found, found_dkim, found_arc, published = await ends_of([early, signatures, chain, policies])
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

    def within(self, check: Coroutine[Any, Any, Known], otherwise: Callable[[], Known]) -> Wait[Known]:
        """What a check finds in its time; whatever fails is `otherwise`. It has begun when this returns."""
        try:
            begun = begin(check)
        except Exception:  # noqa: BLE001 (a check that breaks is no reason to lose a message)
            self.log().exception(FAILED)
            return Done(otherwise())
        return begun if isinstance(begun, Done) else self._end(begun, otherwise)

    async def _end(self, check: Awaitable[Known], otherwise: Callable[[], Known]) -> Known:
        try:
            async with asyncio.timeout(self.settings.timeout):
                return await check
        except TimeoutError:
            return otherwise()
        except Exception:  # noqa: BLE001 (a check that breaks is no reason to lose a message)
            self.log().exception(FAILED)
            return otherwise()


async def _both(named: Awaitable[IprevResult | None], allowed: Awaitable[SpfResult | None]) -> Early:
    return Early(*await ends_of([named, allowed]))


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


def _iprev_late() -> IprevResult:
    return IprevResult(iprev.Result.TEMPERROR)


def _dkim_late() -> tuple[SignatureResult, ...]:
    return (SignatureResult(Dkim.TEMPERROR, LATE),)


def _arc_late() -> ArcResult:
    return ArcResult(Arc.TEMPERROR, LATE)


def _published_late(domains: Sequence[str]) -> tuple[Published, ...]:
    return tuple(Published(domain, failed=True) for domain in domains if domain)


def _spf_late(claims: Claims) -> spf.SpfResult:
    sender = _sender(claims)
    domain = (sender or claims.hello).rpartition("@")[2]
    identity = "mailfrom" if sender else "helo"
    return spf.SpfResult(spf.Result.TEMPERROR, domain, identity, sender or claims.hello, LATE)
