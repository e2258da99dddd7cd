"""DNS questions of routing: mail exchangers, addresses and TLSA records, in the words of smtp-out."""

import asyncio
import itertools
import random
from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_mail_auth.dane import Tlsa
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_model.resolving import Outcome
from posthorn_node.settings import ResolverSettings, parse_bind
from posthorn_smtp_out.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class Exchanger:
    """One MX record; lower preference comes first."""

    preference: int
    host: str


@dataclass(frozen=True, slots=True)
class Exchangers:
    """The MX records of a site by preference; `secure`: validated by DNSSEC, also that there are none."""

    records: Sequence[Exchanger] = ()
    secure: bool = False


@dataclass(frozen=True, slots=True)
class Addresses:
    """A and AAAA of a host; `secure`: validated by DNSSEC. `canonical` is the name that has them, behind aliases."""

    found: Sequence[str] = ()
    secure: bool = False
    canonical: str = ""


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

    def __init__(self, settings: ResolverSettings, *, ipv4_first: bool = False) -> None:
        self._ipv4_first = ipv4_first
        servers = [parse_bind(text, default_port=53) for text in settings.servers]
        self._names = DnsResolver(servers, timeout=settings.timeout, trusted=settings.dnssec)
        self.dnssec = settings.dnssec
        """Whether answers can be secure at all."""

    async def exchangers(self, domain: str) -> Exchangers:
        """The MX records by preference, equal ones in random order (RFC 5321 5.1); empty when there are none.

        Raises NoRoute.
        """
        answer = await self._names.exchangers(domain)
        if answer.outcome is Outcome.NO_NAME:
            raise NoRoute(UNKNOWN_DOMAIN)
        if answer.failed:
            raise NoRoute(_failed(domain))
        if [record.host for record in answer.records] == [""]:
            raise NoRoute(NO_MAIL)
        records = [Exchanger(record.preference, record.host) for record in answer.records if record.host]
        random.shuffle(records)
        return Exchangers(sorted(records, key=lambda record: record.preference), answer.authentic)

    async def addresses(self, host: str) -> Addresses:
        """AAAA and A of a host in turn (RFC 8305 4); empty when it has none. Raises NoRoute when DNS fails."""
        ipv6, ipv4 = await asyncio.gather(self._names.ipv6(host), self._names.ipv4(host))
        if not ipv6.records and not ipv4.records and (ipv6.failed or ipv4.failed):
            raise NoRoute(_failed(host))
        families = [[str(each) for each in ipv6.records], [str(each) for each in ipv4.records]]
        found = in_turn(*reversed(families) if self._ipv4_first else families)
        with_records = [answer for answer in (ipv6, ipv4) if answer.records]
        secure = bool(found) and all(answer.authentic for answer in with_records)
        return Addresses(found, secure, next((answer.canonical for answer in with_records), host))

    async def texts(self, name: str) -> Sequence[bytes]:
        """TXT records; empty also when DNS does not answer."""
        return (await self._names.texts(name)).records

    async def tlsa(self, host: str, port: int) -> Sequence[Tlsa]:
        """The TLSA records of a host that DNSSEC vouches for; empty when it is certain that there are none.

        Raises NoRoute when DNS does not answer, or answers what DNSSEC refutes (RFC 7672 2.1).
        """
        answer = await self._names.tlsa(f"_{port}._tcp.{host}")
        if answer.failed:
            raise NoRoute(Reply(451, (f"4.7.0 DANE: the look-up of TLSA records of {host} failed",)))
        return answer.records if answer.authentic else ()

    async def is_secure_alias(self, host: str) -> bool:
        """Whether DNSSEC vouches for the host being an alias, whatever it leads to."""
        answer = await self._names.alias(host)
        return bool(answer.records) and answer.authentic


def in_turn(*families: Sequence[str]) -> list[str]:
    """The first of each family, then the second of each, and so on."""
    return [each for row in itertools.zip_longest(*families) for each in row if each is not None]


def _failed(name: str) -> Reply:
    return Reply(451, (f"4.4.3 DNS look-up of {name} failed",))
