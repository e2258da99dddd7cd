"""Asks DNS and MTA-STS what there is to know of a destination, so that it can be said what its hosts must show."""

import ipaddress
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import TypeAlias

from posthorn_mail_auth.dane import usable
from posthorn_model.sites import at_site
from posthorn_model.tls_reports import TlsPolicy, TlsSession
from posthorn_smtp_out.resolver import Addresses, NoRoute, Resolver
from posthorn_smtp_out.settings import Wish
from posthorn_smtp_out.tls.demand import LEVELS, MAX_STRING, Demand, Host, Level, NotPromised, Site, demand
from posthorn_smtp_out.tls.faults import Fault
from posthorn_smtp_out.tls.promises import Promises

Note: TypeAlias = Callable[[str, TlsSession], None]
"""Is told of a session with an exchanger of a domain; SessionTally.add."""


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
        note: Note | None = None,
    ) -> None:
        """`everybody` and `own` are settings; TLSA records are those of `port`.

        Without `promises` there is no MTA-STS. `note` is told of failures that reports are to tell of.
        """
        self._note = note
        self._promises = promises
        self._resolver = resolver
        self._everybody = LEVELS[everybody]
        self._own = {domain.lower(): LEVELS[wish] for domain, wish in own.items()}
        self._dane = dane
        self._port = port

    async def site(self, name: str, *, secure: bool, require_tls: bool, relaxed: bool = False) -> Site:
        """What is known of a domain whose exchangers DNSSEC vouches for (`secure`) or not.

        `relaxed`: for a message that needs no TLS.

        Raises Unavailable, Overloaded where it is not known what the domain has promised.
        """
        own = at_site(self._own, name)
        floor = self._everybody if own is None else own
        site = Site(name, floor, own is not None, secure, require_tls, relaxed=relaxed)
        if self._promises is None or name.startswith("[") or not _may_matter(site):
            return site
        promise = await self._promises.of(name)
        site = replace(site, sts=promise.policy)
        if promise.fault is not None:
            policy = TlsPolicy("sts", name) if promise.policy is None else site.published
            self._tell(site, policy, promise.fault)
        return site

    async def host(self, site: Site, name: str, addresses: Addresses, port: int | None = None) -> Demand:
        """What an exchanger must show at a port (None: the usual one). Raises NoRoute when it may not be used now."""
        if not self._asks_for_records(site):
            return self._demand(site, Host(name))
        host = await self._with_records(site, name, addresses, port or self._port)
        if host.tlsa and not usable(host.tlsa):
            strings = tuple(str(record)[:MAX_STRING] for record in host.tlsa)
            fault = Fault("tlsa-invalid", "no TLSA record can be matched")
            self._tell(site, TlsPolicy("tlsa", host.base, strings), fault, name)
        return self._demand(site, host)

    def _demand(self, site: Site, host: Host) -> Demand:
        try:
            return demand(site, host)
        except NotPromised as error:
            self._tell(site, site.published, Fault("validation-failure", error.reply.text), host.name)
            raise

    def _asks_for_records(self, site: Site) -> bool:
        return self._dane and site.secure and _may_matter(site)

    async def _with_records(self, site: Site, name: str, addresses: Addresses, port: int) -> Host:
        for base in await self._bases(name, addresses):
            try:
                records = await self._resolver.tlsa(base, port)
            except NoRoute as error:
                self._tell(site, TlsPolicy("tlsa", base), Fault("dnssec-invalid", error.reply.text), name)
                raise
            if records:
                return Host(name, base, records)
        return Host(name)

    def _tell(self, site: Site, policy: TlsPolicy | None, fault: Fault, host: str = "") -> None:
        if self._note is not None and policy is not None and site.published is not None:
            self._note(site.name, TlsSession(policy, fault.result, fault.text, receiving_host=host))

    async def fixed(self, host: str, port: int, *, require_tls: bool, relaxed: bool = False) -> Demand:
        """What a host that the settings name must show: nobody else needs to vouch for its name (RFC 8689 4.2.1).

        It is looked for what the host itself publishes: TLSA records (RFC 7672 2.2.1), and MTA-STS (RFC 8461 3.4).
        Raises NoRoute when it may not be used now.
        """
        name = host.lower().rstrip(".")
        if _is_address(name):  # nothing is published about one
            own = at_site(self._own, name)
            floor = self._everybody if own is None else own
            return self._demand(Site(name, floor, True, True, require_tls, relaxed=relaxed), Host(name))
        site = await self.site(name, secure=True, require_tls=require_tls, relaxed=relaxed)
        addresses = Addresses()
        if self._resolver.dnssec and self._asks_for_records(site):
            addresses = await self._resolver.addresses(name)
        return await self.host(site, name, addresses, port)

    async def _bases(self, name: str, addresses: Addresses) -> list[str]:
        """Where TLSA records are looked for, in this order (RFC 7672 2.2.2)."""
        if addresses.secure:
            return list(dict.fromkeys([addresses.canonical or name, name]))
        if addresses.canonical != name and await self._resolver.is_secure_alias(name):
            return [name]
        return []


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name.partition("%")[0])
    except ValueError:
        return False
    return True


def _may_matter(site: Site) -> bool:
    """Whether what the domain publishes could change anything."""
    if site.require_tls or site.floor is Level.DANE:
        return True
    return not site.own and not site.relaxed and site.floor is not Level.NONE
