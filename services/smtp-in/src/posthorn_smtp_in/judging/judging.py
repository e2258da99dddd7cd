"""Judges who sent a message: facts, verdict, and both told in the log, the metrics and the header section."""

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_network
from typing import NamedTuple

from structlog.typing import FilteringBoundLogger

from posthorn_mail_auth.addresses import client_address
from posthorn_mail_auth.message import Message, fields_of
from posthorn_mail_auth.results import strip
from posthorn_mail_auth.side_by_side import Done
from posthorn_mail_format.headers import header_end
from posthorn_model.dmarc import DmarcObservation
from posthorn_model.ports import Clock
from posthorn_model.resolving import Resolver
from posthorn_node.settings import ListenerSettings, Problem, SettingsError
from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.judge import Verdict
from posthorn_smtp_in.judging.facts import AuthenticationFacts
from posthorn_smtp_in.judging.field import authentication_results
from posthorn_smtp_in.judging.gathering import Claims, Early, Gatherer, SpooledBody
from posthorn_smtp_in.judging.observing import observed
from posthorn_smtp_in.judging.settings import AuthenticationSettings
from posthorn_smtp_in.judging.suffix_file import SuffixFile
from posthorn_smtp_in.judging.verdict import judge
from posthorn_smtp_in.spool import Spool


class Judged(NamedTuple):
    """The verdict, and what tells of it: a header field, and words for the log."""

    verdict: Verdict
    field: bytes
    told: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class Judging:
    """What judging needs, one for a process; `listeners` are the names of those whose clients are judged."""

    settings: AuthenticationSettings
    listeners: frozenset[str]
    outside: Callable[[str], bool]
    """Whether this is the address of a client in none of the exempt networks."""
    resolver: Resolver
    suffixes: SuffixFile
    figures: Figures
    clock: Clock
    observe: Callable[[DmarcObservation], None] | None = None
    """Told of what belongs into a report to the author's domain."""

    def concerns(self, listener: str, address: str, *, authenticated: bool) -> bool:
        """Whether a client is judged: nobody who has logged in, and nobody from an exempt network."""
        return not authenticated and listener in self.listeners and self.outside(address)

    def begin(self, claims: Claims, log: Callable[[], FilteringBoundLogger]) -> "asyncio.Future[Early]":
        """Ask for what is known without the content; hand it to `judge`, or cancel it."""
        loop, early = asyncio.get_running_loop(), self._gatherer(log).early(claims)
        if not isinstance(early, Done):
            return loop.create_task(early, name="early checks")
        known = loop.create_future()
        known.set_result(early.answer)
        return known

    async def judge(
        self,
        claims: Claims,
        early: Awaitable[Early],
        head: bytes,
        spool: Spool,
        log: Callable[[], FilteringBoundLogger],
    ) -> Judged:
        """Gather the facts and judge them. `head` is the header section as it stands in the spool.

        `log` gives the logger that says which message a line is about; it is asked for where there is something to say.
        """
        message = Message(fields_of(head), SpooledBody(spool, header_end(head, 0, len(head))))
        suffixes = await self.suffixes.current()
        facts = await self._gatherer(log).gather(claims, message, early, suffixes)
        verdict = judge(facts, self.settings)
        results = results_of(facts)
        for method, result in results:
            self.figures.authentication(method, result).inc()
        if self.observe is not None and (seen := observed(facts, verdict, claims.sender)) is not None:
            self.observe(seen)
        return Judged(verdict, authentication_results(claims.hostname, facts), _told(facts, results, verdict))

    def _gatherer(self, log: Callable[[], FilteringBoundLogger]) -> Gatherer:
        return Gatherer(self.resolver, self.settings, self.clock, log)


def _outside(networks: Sequence[IPv4Network | IPv6Network]) -> Callable[[str], bool]:
    """Tells of an address whether it is that of a client in none of the networks."""

    @lru_cache(maxsize=4096)
    def outside(address: str) -> bool:
        try:
            client = client_address(address)
        except ValueError:
            return False
        return not any(client in network for network in networks)

    return outside


def results_of(facts: AuthenticationFacts) -> list[tuple[str, str]]:
    """Every result as (method, result); one for each signature of DKIM."""
    single = (("iprev", facts.iprev), ("spf", facts.spf), ("arc", facts.arc), ("dmarc", facts.dmarc))
    found = [(method, str(result.result)) for method, result in single if result is not None]
    if facts.dkim is not None:
        found += [("dkim", str(each.result)) for each in facts.dkim] or [("dkim", "none")]
    return found


def _told(facts: AuthenticationFacts, results: Sequence[tuple[str, str]], verdict: Verdict) -> Mapping[str, object]:
    """The facts and the verdict in words for the log."""
    told: dict[str, object] = {
        "authentication": verdict.reason,
        "author": facts.dmarc.domain if facts.dmarc is not None else "",
        "signers": [each.domain for each in facts.dkim or ()],
    }
    for method, result in results:
        told[method] = f"{told[method]}, {result}" if method in told else result
    return told


def without_forged(head: bytes, hostname: str) -> bytes:
    """A header section without results that claim to be ours."""
    return strip(head, hostname)


def make_judging(
    settings: AuthenticationSettings,
    listeners: Sequence[ListenerSettings],
    *,
    relays: Collection[str],
    resolver: Resolver,
    figures: Figures,
    clock: Clock,
    log: FilteringBoundLogger,
    observe: Callable[[DmarcObservation], None] | None = None,
) -> Judging:
    """Put the parts together. Raises SettingsError for a listener that is none, or a list that cannot be read."""
    names = {listener.name for listener in listeners}
    for name in settings.listeners:
        if name not in names:
            problem = f'there is no listener "{name}" of the protocols smtp, submission and lmtp'
            raise SettingsError([Problem("settings", 0, "smtp-in.auth.listeners", problem)])
    usual = [listener.name for listener in listeners if listener.protocol == "smtp"]
    idle = {settings.spf, settings.dkim, settings.dmarc, settings.arc, settings.iprev} == {"off"}
    return Judging(
        settings=settings,
        listeners=frozenset(() if idle else settings.listeners or usual),
        outside=_outside([ip_network(network) for network in (*settings.exempt_networks, *relays)]),
        resolver=resolver,
        suffixes=SuffixFile(settings.public_suffix_list, clock, log),
        figures=figures,
        clock=clock,
        observe=observe,
    )
