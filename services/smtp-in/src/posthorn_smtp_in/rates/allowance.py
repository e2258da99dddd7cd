"""What one client may still have, asked of the lookup store: one question at MAIL, one at each RCPT.

While the store does not answer nobody is held up. Nothing is kept in this process but the name of the session's place.
LMTP is not counted: its client is a server of ours.
"""

import asyncio
import ipaddress
import uuid
from collections.abc import Sequence

from posthorn_model.errors import Overloaded, Unavailable
from posthorn_model.ids import AccountId
from posthorn_model.lookup import Take, lookup_key
from posthorn_model.queue_items import site_of
from posthorn_node.settings import Rate, parse_rate
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.parts import Parts
from posthorn_smtp_in.protocol.replies import Reply, reply
from posthorn_smtp_in.rates.settings import Rates

IPV6_PREFIX = 64
"""What one customer usually has."""
RENEW_AFTER = 60.0
"""Seconds between two renewals of a session's place, at most one at each MAIL."""
TOO_MANY_CONNECTIONS = reply(421, "4.7.0", "Too many connections from your address, close some first")

Limit = tuple[str, str, Rate]
"""What is counted, under which name of whom, and how much there is."""


def source_of(address: str) -> str:
    """What a client is counted as: an IPv4 address, the network of an IPv6 address; "" for a local socket."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return ""
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        return str(found.ipv4_mapped)
    return str(ipaddress.ip_network((found, IPV6_PREFIX), strict=False).network_address)


class Allowance:
    """The limits of one session. Ends with `leave`."""

    def __init__(self, parts: Parts, kind: Kind, address: str) -> None:
        self._parts = parts
        self._settings = parts.settings.rates
        self._kind = kind
        self._source = source_of(address)
        self._exempt = not self._source or any(
            ipaddress.ip_address(self._source) in ipaddress.ip_network(network)
            for network in self._settings.exempt_networks
        )
        self._member = ""
        self._renew_at = 0.0

    async def enter(self) -> Reply | None:
        """Take a place among the connections of the address; the refusal when there is none."""
        if self._kind is Kind.LMTP or self._exempt or not self._settings.connections_per_address:
            return None
        self._member = uuid.uuid4().hex
        try:
            there = await self._join()
        except (Unavailable, Overloaded):
            return None
        if there is None:
            self._member = ""
            return TOO_MANY_CONNECTIONS
        return None

    async def leave(self) -> None:
        """Give the place back; when that fails it ends by itself."""
        if not self._member:
            return
        member, self._member = self._member, ""
        try:
            await self._parts.storage.lookup.leave(self._place(), member)
        except (Unavailable, Overloaded):
            return

    async def refuse_message(self, sender: str, account: AccountId | None) -> Reply | None:
        """Count a MAIL command; the refusal when it is one too many."""
        by_whom = self._by_whom(sender, account)
        limits = [(kind, whom, rates.messages) for kind, whom, rates in by_whom]
        if not self._must_renew():
            return await self._take("messages", limits)
        _, refusal = await asyncio.gather(self._renew(), self._take("messages", limits))
        return refusal

    async def refuse_recipient(self, sender: str, account: AccountId | None, recipient: str, site: str) -> Reply | None:
        """Count a recipient, who is of the cluster when `site` is ""; the refusal when it is one too many."""
        limits = [(kind, whom, rates.recipients) for kind, whom, rates in self._by_whom(sender, account)]
        if not site and self._kind is not Kind.LMTP and not self._exempt:
            limits.append(("recipient", recipient.lower(), self._settings.recipient))
        return await self._take("recipients", limits)

    def _by_whom(self, sender: str, account: AccountId | None) -> Sequence[tuple[str, str, Rates]]:
        if self._kind is Kind.SUBMISSION:
            return [("login", str(account), self._settings.login)] if account is not None else []
        if self._kind is Kind.LMTP or self._exempt:
            return []
        found = [("address", self._source, self._settings.address)]
        domain = site_of(sender) if sender else None
        if domain:
            found.append(("sender-domain", domain, self._settings.sender_domain))
        return found

    async def _take(self, what: str, limits: Sequence[Limit]) -> Reply | None:
        takes = {}
        for kind, whom, text in limits:
            rate = parse_rate(text)
            if rate is not None:
                takes[kind] = Take(lookup_key("smtp", what, kind, whom), *rate)
        if not takes:
            return None
        try:
            answers = await self._parts.storage.lookup.take(list(takes.values()))
        except (Unavailable, Overloaded):
            return None
        refused = {kind: answer.retry_after for kind, answer in zip(takes, answers, strict=True) if not answer.allowed}
        for kind in refused:
            self._parts.figures.limited.labels(kind).inc()
        return _refusal(what, refused)

    async def _join(self) -> int | None:
        times = self._parts.settings.timeouts
        self._renew_at = self._parts.clock.monotonic() + RENEW_AFTER
        ttl = max(times.command, times.content) + 2 * RENEW_AFTER
        limit = self._settings.connections_per_address
        return await self._parts.storage.lookup.join(self._place(), self._member, ttl, limit)

    def _must_renew(self) -> bool:
        return bool(self._member) and self._parts.clock.monotonic() >= self._renew_at

    async def _renew(self) -> None:
        try:
            await self._join()
        except (Unavailable, Overloaded):
            return

    def _place(self) -> str:
        return lookup_key("smtp", "connections", self._source)


_OF_WHOM = {
    "address": "from your address",
    "login": "from your login",
    "sender-domain": "from the sender's domain",
    "recipient": "for this recipient",
}


def _refusal(what: str, refused: dict[str, float]) -> Reply | None:
    """The reply that tells of the limit which lasts the longest, and when to come again."""
    if not refused:
        return None
    kind = max(refused, key=lambda each: refused[each])
    seconds = max(1, round(refused[kind] + 0.5))
    many = "messages" if kind == "recipient" else what
    text = f"Too many {many} {_OF_WHOM[kind]}, try again in {seconds} seconds"
    return reply(450 if what == "recipients" else 451, "4.7.1", text)
