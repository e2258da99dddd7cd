"""Asks DNS and MTA-STS what there is to know of a destination, so that it can be said what its hosts must show."""

from collections.abc import Mapping
from dataclasses import replace

from posthorn_smtp_out.resolver import Addresses, Resolver
from posthorn_smtp_out.settings import Wish
from posthorn_smtp_out.sites import at_site
from posthorn_smtp_out.tls.demand import LEVELS, Demand, Host, Level, Site, demand
from posthorn_smtp_out.tls.promises import Promises


class Guard:
    """One for a process."""

    def __init__(
        self,
        resolver: Resolver,
        *,
        everybody: Wish,
        own: Mapping[str, Wish],
        dane: bool = True,
        port: int = 25,
        promises: Promises | None = None,
    ) -> None:
        """`everybody` and `own` are settings; TLSA records are those of `port`.

        Without `promises` there is no MTA-STS.
        """
        self._promises = promises
        self._resolver = resolver
        self._everybody = LEVELS[everybody]
        self._own = {domain.lower(): LEVELS[wish] for domain, wish in own.items()}
        self._dane = dane
        self._port = port

    async def site(self, name: str, *, secure: bool, require_tls: bool) -> Site:
        """What is known of a domain whose exchangers DNSSEC vouches for (`secure`) or not.

        Raises Unavailable, Overloaded where it is not known what the domain has promised.
        """
        own = at_site(self._own, name)
        site = Site(name, self._everybody if own is None else own, own is not None, secure, require_tls)
        if self._promises is None or name.startswith("[") or not _may_matter(site):
            return site
        return replace(site, sts=(await self._promises.of(name)).policy)

    async def host(self, site: Site, name: str, addresses: Addresses) -> Demand:
        """What an exchanger must show. Raises NoRoute when it may not be used now, or at all."""
        if not (self._dane and site.secure and _may_matter(site)):
            return demand(site, Host(name))
        for base in await self._bases(name, addresses):
            if records := await self._resolver.tlsa(base, self._port):
                return demand(site, Host(name, base, records))
        return demand(site, Host(name))

    def fixed(self, host: str, *, require_tls: bool) -> Demand:
        """What a host that the settings name must show: nobody else needs to vouch for its name (RFC 8689 4.2.1)."""
        if require_tls:
            return Demand(Level.CERTIFICATE, "REQUIRETLS", host)
        own = at_site(self._own, host.lower())
        return Demand(min(self._everybody if own is None else own, Level.CERTIFICATE), name=host)

    async def _bases(self, name: str, addresses: Addresses) -> list[str]:
        """Where TLSA records are looked for, in this order (RFC 7672 2.2.2)."""
        if addresses.secure:
            return list(dict.fromkeys([addresses.canonical or name, name]))
        if addresses.canonical != name and await self._resolver.is_secure_alias(name):
            return [name]
        return []


def _may_matter(site: Site) -> bool:
    """Whether what the domain publishes could change anything."""
    if site.require_tls or site.floor is Level.DANE:
        return True
    return not site.own and site.floor is not Level.NONE
