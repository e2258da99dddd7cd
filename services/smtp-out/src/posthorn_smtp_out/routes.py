"""Where a site's mail goes: mailboxes of the cluster, a set route, a relay, or the exchangers DNS names."""

import asyncio
import ipaddress
import random
import socket
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from posthorn_model.sites import at_site
from posthorn_node.settings import parse_bind
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_smtp_out.remote import Login
from posthorn_smtp_out.resolver import NO_ADDRESS, NO_SERVER, Addresses, NoRoute, Resolver, in_turn
from posthorn_smtp_out.tls.demand import UNVERIFIED, Demand
from posthorn_smtp_out.tls.guard import Guard

MAX_EXCHANGERS = 10
MAX_ADDRESSES = 4
"""Of one exchanger or relay."""
LOOP = Reply(554, ("5.4.6 The best mail exchanger is this server: a mail loop",))
BAD_LITERAL = Reply(550, ("5.1.2 Not an address literal",))


@dataclass(frozen=True, slots=True)
class Hop:
    """One address to try."""

    host: str
    address: str
    port: int
    demand: Demand | None = None
    """What it must show under TLS; None: what Manners say."""

    def __str__(self) -> str:
        return f"{self.host} [{self.address}]:{self.port}"


@dataclass(frozen=True, slots=True)
class Relay:
    """Hosts that take mail for others, in any order, and how they are spoken to."""

    hosts: tuple[tuple[str, int], ...]
    lmtp: bool = False
    tls: Literal["none", "opportunistic", "encrypt", "required", "implicit"] | None = None
    """None: as towards everybody."""
    login: Login | None = field(default=None, repr=False)
    source: str = ""
    """The name of the source that mail leaves from; "": the sender's domain decides."""


@dataclass(frozen=True, slots=True)
class Destination:
    """The next hop of a site: `key` names what connections are shared by."""

    key: str
    relay: Relay | None = None
    """None: by DNS."""
    verified: bool = False
    """Only to hosts that something vouches for, over TLS with a certificate (RFC 8689)."""
    relaxed: bool = False
    """Whatever the domain publishes about TLS (RFC 8689 4.1)."""
    spread: bool = False
    """Served by several workers (spreading.py)."""

    @property
    def shared(self) -> bool:
        """Whether its limits are shared out among the processes; else one owner has them whole."""
        return self.spread or self.relay is not None


class Router:
    """Answers for sites (domains in A-labels, or address literals). "local" is not asked here."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        hostname: str,
        port: int,
        relay: str | None,
        routes: Mapping[str, str],
        relays: Mapping[str, Relay] | None = None,
        guard: Guard | None = None,
    ) -> None:
        """`relay` and the routes are "host:port" or a name among `relays`; routes also "mx" and "local".

        Without a guard nothing is said of what hops must show.
        """
        self.spread: Callable[[str], bool] = lambda _: False
        """Says of a site whether it is; set by who knows."""
        self._guard = guard
        self._resolver = resolver
        self._hostname = hostname.lower()
        self._port = port
        self._relay = relay
        self._routes = {domain.lower(): route for domain, route in routes.items()}
        self._relays = dict(relays or {})

    def become(self, other: "Router") -> None:
        """Answer as another one does, from the next question on."""
        self._guard, self._relay = other._guard, other._relay
        self._routes, self._relays = other._routes, other._relays

    def destination(self, site: str) -> Destination | None:
        """The next hop of a site; None: a set route says that it is delivered to mailboxes."""
        route = at_site(self._routes, site) or self._relay or "mx"
        if route == "local":
            return None
        if route == "mx":
            return Destination(site, spread=self.spread(site))
        relay = self._relays.get(route)
        if relay is None:
            relay = self._relays[route] = Relay((parse_bind(route),))
        return Destination(route, relay)

    async def hops(self, destination: Destination) -> Sequence[Hop]:
        """The addresses to try, in their order; one at least. Raises NoRoute."""
        if destination.relay is not None:
            return await self._relay_hops(destination.relay, destination)
        if destination.verified and self._guard is None:
            raise NoRoute(UNVERIFIED)
        site = destination.key
        if site.startswith("["):
            address = _literal(site)
            return [Hop(site, address, self._port, await self._literal_demand(destination, address))]
        answer = await self._resolver.exchangers(site)
        exchangers = answer.records
        ours = [each.preference for each in exchangers if each.host == self._hostname]
        if ours:  # RFC 5321 5.1: only better ones than ourselves may be used
            exchangers = [each for each in exchangers if each.preference < min(ours)]
            if not exchangers:
                raise NoRoute(LOOP)
        hosts = [each.host for each in exchangers[:MAX_EXCHANGERS]] or [site]
        hops: list[Hop] = []
        failure: NoRoute | None = None
        known = None
        if self._guard is not None:
            known = await self._guard.site(
                site, secure=answer.secure, require_tls=destination.verified, relaxed=destination.relaxed
            )
        for host in hosts:
            try:
                addresses = await self._resolver.addresses(host)
                demand = None
                if self._guard and known and addresses.found:
                    demand = await self._guard.host(known, host, addresses)
                hops += [Hop(host, address, self._port, demand) for address in addresses.found[:MAX_ADDRESSES]]
            except NoRoute as error:
                if failure is None or not error.reply.permanent:  # what may get better decides
                    failure = error
        if hops:
            return hops
        raise failure or NoRoute(NO_ADDRESS if exchangers else NO_SERVER)

    async def _literal_demand(self, destination: Destination, address: str) -> Demand | None:
        """Of an address literal: nothing vouches for it, and nothing is published about it."""
        if self._guard is None:
            return None
        site = await self._guard.site(destination.key, secure=False, require_tls=destination.verified)
        return await self._guard.host(site, address, Addresses())

    async def _relay_hops(self, relay: Relay, destination: Destination) -> Sequence[Hop]:
        """The addresses of all hosts of a relay, the hosts in random order: they share its load."""
        hops: list[Hop] = []
        failure: NoRoute | None = None
        guard = self._guard if relay.tls is None else None
        for host, port in random.sample(relay.hosts, len(relay.hosts)):
            try:
                demand = None
                if guard is not None:
                    demand = await guard.fixed(
                        host, port, require_tls=destination.verified, relaxed=destination.relaxed
                    )
                hops += await _system_hops(host, port, demand)
            except NoRoute as error:
                failure = error
        if failure is not None and not hops:
            raise failure
        return hops


def verified(destination: Destination) -> Destination:
    """The same next hop for a message with REQUIRETLS."""
    return replace(destination, verified=True)


def relaxed(destination: Destination) -> Destination:
    """The same next hop for a message that needs no TLS."""
    return replace(destination, relaxed=True)


def _literal(site: str) -> str:
    """The IP address of "[192.0.2.1]" or "[IPv6:2001:db8::1]"."""
    text = site.strip("[]")
    if text.lower().startswith("ipv6:"):
        text = text[5:]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise NoRoute(BAD_LITERAL) from None


async def _system_hops(host: str, port: int, demand: Demand | None) -> Sequence[Hop]:
    """A set host is looked up as the system does, /etc/hosts included."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NoRoute(Reply(451, (f"4.4.3 The relay {host} is not known: {error.strerror}",))) from error
    addresses = dict.fromkeys(str(address[0]) for _, _, _, _, address in found)
    families = [each for each in addresses if ":" in each], [each for each in addresses if ":" not in each]
    # The system has put the better family first (RFC 6724).
    better_first = families if ":" in next(iter(addresses), ":") else families[::-1]
    return [Hop(host, address, port, demand) for address in in_turn(*better_first)[:MAX_ADDRESSES]]
