"""Where a site's mail goes: mailboxes of the cluster, a set route, the relay, or the exchangers DNS names."""

import asyncio
import ipaddress
import socket
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from posthorn_node.settings import parse_bind
from posthorn_smtp_out.protocol.replies import Reply
from posthorn_smtp_out.resolver import NO_ADDRESS, NO_SERVER, NoRoute, Resolver

MAX_EXCHANGERS = 10
MAX_ADDRESSES = 4
"""Of one exchanger."""
LOOP = Reply(554, ("5.4.6 The best mail exchanger is this server: a mail loop",))
UNVERIFIED = Reply(550, ("5.7.30 REQUIRETLS, and nothing vouches for the mail exchangers of the destination",))
BAD_LITERAL = Reply(550, ("5.1.2 Not an address literal",))


@dataclass(frozen=True, slots=True)
class Hop:
    """One address to try."""

    host: str
    address: str
    port: int


@dataclass(frozen=True, slots=True)
class Destination:
    """The next hop of a site: `key` names what connections and limits are shared by; `relay` asks for the login."""

    key: str
    fixed: tuple[str, int] | None = None
    relay: bool = False
    verified: bool = False
    """Only over TLS, with a certificate of that name (RFC 8689)."""


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
    ) -> None:
        self._resolver = resolver
        self._hostname = hostname.lower()
        self._port = port
        self._relay = relay
        self._routes = {domain.lower(): route for domain, route in routes.items()}

    def destination(self, site: str) -> Destination | None:
        """The next hop of a site; None: a set route says that it is delivered to mailboxes."""
        route = self._routes.get(site)
        if route == "local":
            return None
        if route is not None and route != "mx":
            return Destination(route, parse_bind(route))
        if self._relay is not None and route is None:
            return Destination(self._relay, parse_bind(self._relay), relay=True)
        return Destination(site)

    async def hops(self, destination: Destination) -> Sequence[Hop]:
        """The addresses to try, in their order; one at least. Raises NoRoute."""
        if destination.fixed is not None:
            host, port = destination.fixed
            return await _system_hops(host, port)
        site = destination.key
        if site.startswith("["):
            return [Hop(site, _literal(site), self._port)]
        exchangers = await self._resolver.exchangers(site)
        ours = [each.preference for each in exchangers if each.host == self._hostname]
        if ours:  # RFC 5321 5.1: only better ones than ourselves may be used
            exchangers = [each for each in exchangers if each.preference < min(ours)]
            if not exchangers:
                raise NoRoute(LOOP)
        hosts = [each.host for each in exchangers[:MAX_EXCHANGERS]] or [site]
        hops: list[Hop] = []
        failure: NoRoute | None = None
        for host in hosts:
            try:
                addresses = await self._resolver.addresses(host)
                hops += [Hop(host, address, self._port) for address in addresses[:MAX_ADDRESSES]]
            except NoRoute as error:
                failure = error
        if hops:
            return hops
        raise failure or NoRoute(NO_ADDRESS if exchangers else NO_SERVER)


def verified(destination: Destination) -> Destination:
    """The same next hop for a message with REQUIRETLS. Raises NoRoute where nothing vouches for the hop's name.

    What DNS without DNSSEC or MTA-STS says of a site's exchangers may not be believed (RFC 8689 4.2.1).
    """
    if destination.fixed is None:
        raise NoRoute(UNVERIFIED)
    return replace(destination, verified=True)


def _literal(site: str) -> str:
    """The IP address of "[192.0.2.1]" or "[IPv6:2001:db8::1]"."""
    text = site.strip("[]")
    if text.lower().startswith("ipv6:"):
        text = text[5:]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        raise NoRoute(BAD_LITERAL) from None


async def _system_hops(host: str, port: int) -> Sequence[Hop]:
    """A set host is looked up as the system does, /etc/hosts included."""
    try:
        found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except OSError as error:
        raise NoRoute(Reply(451, (f"4.4.3 The relay {host} is not known: {error.strerror}",))) from error
    addresses = dict.fromkeys(str(address[0]) for _, _, _, _, address in found)
    return [Hop(host, address, port) for address in list(addresses)[:MAX_ADDRESSES]]
