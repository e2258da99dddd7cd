"""The resolver port over dnspython: a stub resolver with a cache, bounded in time, size and count.

Answers are kept for as long as their records say (a day at most), "no such name" and "no such records" for as long as
the zone's SOA says (RFC 2308; five minutes at most), failures not at all. Who asks for what is being asked for already
waits for the same answer.

Nothing is validated here: of servers that are trusted it is believed that they did (RFC 6840 5.7, 5.8).
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from ipaddress import IPv4Address, IPv6Address
from typing import Any, TypeVar

import dns.asyncresolver
import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.nameserver
import dns.rdatatype
import dns.resolver

from posthorn_mail_auth.dane import Tlsa
from posthorn_model.resolving import Answer, MailExchanger, Outcome

MAX_CACHED = 10_000
MAX_CACHED_OCTETS = 4096
"""An answer with more octets of records is not kept."""
MAX_RECORDS = 200
"""Of one answer; others are left out."""
MAX_TTL = 86_400.0
MAX_NEGATIVE_TTL = 300.0
DEFAULT_NEGATIVE_TTL = 30.0
"""Seconds, where no SOA says it."""

Record = TypeVar("Record")


class DnsResolver:
    """Implements posthorn_model.resolving.Resolver; one for a process."""

    def __init__(
        self,
        servers: Sequence[tuple[str, int]] = (),
        *,
        timeout: float = 5.0,
        trusted: bool = False,
        clock: Callable[[], float] = time.monotonic,
        system: str = "/etc/resolv.conf",
    ) -> None:
        """`servers` are addresses and ports; `timeout` is in seconds, for one question.

        None means those that the file `system` names, and where that names none, this host (resolv.conf(5)). `trusted`
        says that they validate by DNSSEC and that nobody can change what they answer.
        """
        try:
            self._resolver = dns.asyncresolver.Resolver(system, configure=not servers)
        except dns.resolver.NoResolverConfiguration:
            self._resolver = dns.asyncresolver.Resolver(configure=False)
            servers = [("127.0.0.1", 53)]
        if servers:
            self._resolver.nameservers = [dns.nameserver.Do53Nameserver(host, port) for host, port in servers]
        self._resolver.lifetime = timeout
        self._resolver.timeout = timeout / 2
        self._resolver.use_edns(0, 0, 1232)
        self._trusted = trusted
        if trusted:  # RFC 6840 5.7: tell whether the answer is authentic, without the signatures
            self._resolver.flags = dns.flags.RD | dns.flags.AD
        self._clock = clock
        self._kept: OrderedDict[tuple[str, str], tuple[float, Answer[Any]]] = OrderedDict()
        self._asked: dict[tuple[str, str], asyncio.Task[Answer[Any]]] = {}

    async def texts(self, name: str) -> Answer[bytes]:
        """TXT records, the strings of each put together without a space (RFC 7208 3.3)."""
        return await self._ask(name, "TXT", lambda record: b"".join(record.strings))

    async def ipv4(self, name: str) -> Answer[IPv4Address]:
        """A records."""
        return await self._ask(name, "A", lambda record: IPv4Address(record.address))

    async def ipv6(self, name: str) -> Answer[IPv6Address]:
        """AAAA records."""
        return await self._ask(name, "AAAA", lambda record: IPv6Address(record.address))

    async def exchangers(self, name: str) -> Answer[MailExchanger]:
        """MX records."""
        return await self._ask(name, "MX", lambda record: MailExchanger(record.preference, _host(record.exchange)))

    async def names_of(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        """PTR records of an address."""
        return await self._ask(address.reverse_pointer, "PTR", lambda record: _host(record.target))

    async def tlsa(self, name: str) -> Answer[Tlsa]:
        """TLSA records (RFC 6698 2.1)."""
        return await self._ask(
            name, "TLSA", lambda record: Tlsa(record.usage, record.selector, record.mtype, bytes(record.cert))
        )

    async def alias(self, name: str) -> Answer[str]:
        """The CNAME record of a name."""
        return await self._ask(name, "CNAME", lambda record: _host(record.target))

    async def _ask(self, name: str, kind: str, read: Callable[[Any], Record]) -> Answer[Record]:
        key = (name.removesuffix(".").lower(), kind)
        kept = self._kept.get(key)
        if kept is not None and kept[0] > self._clock():
            self._kept.move_to_end(key)
            return kept[1]
        task = self._asked.get(key)
        if task is None:
            task = asyncio.create_task(self._question(key, read))
            self._asked[key] = task
            task.add_done_callback(lambda _: self._asked.pop(key, None))
        return await asyncio.shield(task)

    async def _question(self, key: tuple[str, str], read: Callable[[Any], Record]) -> Answer[Record]:
        name, kind = key
        try:
            owner = dns.name.Name([label.encode("ascii") for label in name.split(".")] + [b""])
        except (dns.exception.DNSException, UnicodeError):
            return Answer(Outcome.NO_NAME)
        try:
            found = await self._resolver.resolve(owner, kind, search=False, raise_on_no_answer=False)
        except dns.resolver.NXDOMAIN as error:
            responses = list(error.kwargs.get("responses", {}).values())
            answer: Answer[Record] = Answer(
                Outcome.NO_NAME, authentic=bool(responses) and all(map(self._authentic, responses))
            )
            self._keep(key, answer, _negative_ttl(responses), 0)
            return answer
        except (dns.exception.DNSException, OSError, EOFError, ValueError):
            return Answer(Outcome.FAILED)
        authentic = self._authentic(found.response)
        if found.rrset is None:
            answer = Answer(Outcome.NO_DATA, authentic=authentic)
            self._keep(key, answer, _negative_ttl([found.response]), 0)
            return answer
        records = tuple(read(record) for record in list(found.rrset)[:MAX_RECORDS])
        answer = Answer(Outcome.RECORDS, records, authentic, _host(found.canonical_name))
        self._keep(key, answer, min(found.chaining_result.minimum_ttl, MAX_TTL), _octets(records))
        return answer

    def _authentic(self, response: dns.message.Message) -> bool:
        return self._trusted and bool(response.flags & dns.flags.AD)

    def _keep(self, key: tuple[str, str], answer: Answer[Any], ttl: float, octets: int) -> None:
        if ttl <= 0 or octets > MAX_CACHED_OCTETS:
            return
        self._kept[key] = (self._clock() + ttl, answer)
        self._kept.move_to_end(key)
        if len(self._kept) > MAX_CACHED:
            self._kept.popitem(last=False)


def _octets(records: Sequence[Any]) -> int:
    return sum(len(record) if isinstance(record, bytes) else 64 for record in records)


def _host(name: dns.name.Name) -> str:
    return name.to_text(omit_final_dot=True).lower().removesuffix(".")


def _negative_ttl(responses: Iterable[dns.message.Message]) -> float:
    """RFC 2308 5: the lesser of the SOA's own time to live and its last field."""
    for response in responses:
        for rrset in response.authority:
            if rrset.rdtype == dns.rdatatype.SOA and len(rrset):
                return min(float(rrset.ttl), float(rrset[0].minimum), MAX_NEGATIVE_TTL)
    return DEFAULT_NEGATIVE_TTL
