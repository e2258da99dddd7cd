"""DNS questions of routing, asked over dnspython: mail exchangers and addresses."""

import random
from collections.abc import Sequence
from dataclasses import dataclass

import dns.asyncresolver
import dns.exception
import dns.nameserver
import dns.rdtypes.ANY.MX
import dns.resolver

from posthorn_node.settings import ResolverSettings, parse_bind
from posthorn_smtp_out.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX record; lower preference comes first."""

    preference: int
    host: str


class NoRoute(Exception):
    """A site or host cannot be reached by what DNS says; `reply` says why, and by its class whether to try again."""

    def __init__(self, reply: Reply) -> None:
        self.reply = reply
        super().__init__(reply.text)


UNKNOWN_DOMAIN = Reply(550, ("5.1.2 The domain does not exist",))
NO_MAIL = Reply(556, ("5.1.10 The domain does not accept mail (null MX)",))  # RFC 7505 4.1
NO_SERVER = Reply(550, ("5.4.4 The domain has neither a mail exchanger nor an address",))
NO_ADDRESS = Reply(451, ("4.4.4 The mail exchangers have no address",))


class Resolver:
    """A stub resolver with a cache that keeps to the records' times."""

    def __init__(self, settings: ResolverSettings) -> None:
        self._resolver = dns.asyncresolver.Resolver(configure=not settings.servers)
        if settings.servers:
            named = [parse_bind(text, default_port=53) for text in settings.servers]
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in named]
        self._resolver.lifetime = settings.timeout
        self._resolver.timeout = settings.timeout / 2
        self._resolver.cache = dns.resolver.LRUCache(max_size=10_000)

    async def exchangers(self, domain: str) -> Sequence[Exchanger]:
        """The MX records by preference, equal ones in random order (RFC 5321 5.1); empty when there are none.

        Raises NoRoute.
        """
        try:
            answer = await self._resolver.resolve(f"{domain}.", "MX", search=False)
        except dns.resolver.NXDOMAIN:
            raise NoRoute(UNKNOWN_DOMAIN) from None
        except dns.resolver.NoAnswer:
            return []
        except dns.exception.DNSException as error:
            raise NoRoute(_failed(domain, error)) from error
        records = [record for record in answer if isinstance(record, dns.rdtypes.ANY.MX.MX)]
        hosts = [(record.preference, record.exchange.to_text(omit_final_dot=True)) for record in records]
        if [host for _, host in hosts] == ["."] or [host for _, host in hosts] == [""]:
            raise NoRoute(NO_MAIL)
        random.shuffle(hosts)
        ordered = sorted(hosts, key=lambda each: each[0])
        return [Exchanger(preference, host.lower()) for preference, host in ordered if host not in ("", ".")]

    async def addresses(self, host: str) -> Sequence[str]:
        """A and AAAA of a host, IPv4 first; empty when it has none. Raises NoRoute when DNS does not answer."""
        found: list[str] = []
        failure: dns.exception.DNSException | None = None
        for kind in ("A", "AAAA"):
            try:
                answer = await self._resolver.resolve(f"{host}.", kind, search=False)
                found += [record.to_text() for record in answer]
            except (dns.resolver.NXDOMAIN, dns.resolver.NoAnswer):
                continue
            except dns.exception.DNSException as error:
                failure = error
        if not found and failure is not None:
            raise NoRoute(_failed(host, failure))
        return found


def _failed(name: str, error: dns.exception.DNSException) -> Reply:
    return Reply(451, (f"4.4.3 DNS look-up of {name} failed: {type(error).__name__}",))
