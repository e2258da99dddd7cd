"""check_host() of RFC 7208 4: what a domain's record says of an address. Lookups are limited as 4.6.4 says."""

import asyncio
import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import Any, NamedTuple, TypeVar

from posthorn_mail_auth.addresses import Address, client_address
from posthorn_mail_auth.spf.macros import IN_EXPLANATIONS, InvalidMacro, MacroString, parse_macros
from posthorn_mail_auth.spf.record import InvalidRecord, Mechanism, Qualifier, Record, is_spf, parse_record
from posthorn_model.resolving import Answer, Resolver

MAX_LOOKUPS = 10
"""Terms that ask DNS."""
MAX_VOID = 2
"""Questions of terms that bring nothing."""
MAX_EXCHANGERS = 10
MAX_POINTERS = 10
MAX_EXPLANATION = 500
_LABEL = re.compile(r"[^.]{1,63}\Z")
_PRINTABLE = re.compile(r"[ -~]*\Z")

AnswerOf = TypeVar("AnswerOf", bound=Answer[Any])


class Result(StrEnum):
    """RFC 7208 2.6."""

    NONE = "none"
    NEUTRAL = "neutral"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    SOFTFAIL = "softfail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


_MEANING = {
    Qualifier.PASS: Result.PASS,
    Qualifier.NEUTRAL: Result.NEUTRAL,
    Qualifier.SOFTFAIL: Result.SOFTFAIL,
    Qualifier.FAIL: Result.FAIL,
}


class SpfResult(NamedTuple):
    """What became of one check."""

    result: Result
    domain: str
    """The domain that was asked, in lower case."""
    identity: str
    """"mailfrom" or "helo"."""
    sender: str
    """The whole identity: the address, or the client's name."""
    reason: str = ""
    """The mechanism that matched, or why there is no result, in a few words."""
    explanation: str = ""
    """What the domain says of a fail (6.2), printable ASCII; it is not ours and must be shown as theirs."""


class _Ended(Exception):
    """A check ends with an error."""

    def __init__(self, result: Result, reason: str) -> None:
        super().__init__(reason)
        self.result = result
        self.reason = reason


async def check(
    resolver: Resolver,
    *,
    address: str,
    sender: str,
    hello: str,
    receiver: str = "unknown",
    clock: Callable[[], float] = time.time,
) -> SpfResult:
    """Check the envelope sender, or the client's name where it is null (RFC 7208 2.4).

    `sender` is local@domain with the domain in A-labels, or ""; `hello` is the name of EHLO; `receiver` is who we are,
    for explanations. Raises ValueError for an `address` that is none.
    """
    local, _, domain = sender.rpartition("@")
    identity = "mailfrom" if sender else "helo"
    if not sender:
        domain = hello
    domain = domain.lower().removesuffix(".")
    if not _is_domain(domain):
        return SpfResult(Result.NONE, domain, identity, sender or hello, "not a domain name")
    run = _Check(resolver, client_address(address), local or "postmaster", domain, hello, receiver, clock)
    try:
        result, reason, explanation = await run.host(domain, top=True)
    except _Ended as ended:
        result, reason, explanation = ended.result, ended.reason, ""
    return SpfResult(result, domain, identity, sender or hello, reason, explanation)


def _is_domain(name: str) -> bool:
    """RFC 7208 4.3: more than one label, none empty or too long, no address literal."""
    return (
        len(name) <= 253
        and "." in name
        and not name.startswith("[")
        and all(_LABEL.match(label) for label in name.split("."))
    )


@dataclass(slots=True)
class _Check:
    """One check with its counts: they are shared by everything it includes."""

    resolver: Resolver
    address: Address
    local: str
    sender_domain: str
    hello: str
    receiver: str
    clock: Callable[[], float]
    lookups: int = 0
    void: int = 0
    names: list[str] | None = field(default=None)
    """Names of the address that lead back to it (5.5)."""

    async def host(self, domain: str, *, top: bool) -> tuple[Result, str, str]:
        """Result, reason and explanation for a domain; raises _Ended."""
        record = await self._record(domain)
        if record is None:
            return Result.NONE, "no SPF record", ""
        for mechanism in record.mechanisms:
            if await self._matches(mechanism, domain):
                result = _MEANING[mechanism.qualifier]
                explanation = ""
                if result is Result.FAIL and top and record.explanation is not None:
                    explanation = await self._explain(record.explanation, domain)
                return result, mechanism.text[:100], explanation
        if record.redirect is None:
            return Result.NEUTRAL, "no mechanism matched", ""
        self._count()
        target = await self._name(record.redirect, domain)
        result, reason, explanation = await self.host(target, top=top)
        if result is Result.NONE:
            raise _Ended(Result.PERMERROR, "redirect to a domain without a record")
        return result, reason, explanation

    async def _record(self, domain: str) -> Record | None:
        answer = await self.resolver.texts(domain)
        if answer.failed:
            raise _Ended(Result.TEMPERROR, f"no answer from DNS for {domain[:100]}")
        records = [text for text in answer.records if is_spf(text)]
        if not records:
            return None
        if len(records) > 1:
            raise _Ended(Result.PERMERROR, "more than one record")
        try:
            return parse_record(records[0])
        except InvalidRecord as error:
            raise _Ended(Result.PERMERROR, str(error)) from None

    # Mechanisms (RFC 7208 5)

    async def _matches(self, mechanism: Mechanism, domain: str) -> bool:
        if mechanism.name == "all":
            return True
        if mechanism.network is not None:
            return self.address.version == mechanism.network.version and self.address in mechanism.network
        self._count()
        target = domain if mechanism.domain is None else await self._name(mechanism.domain, domain)
        match mechanism.name:
            case "include":
                return await self._included(target)
            case "a":
                return self._among(self._known(await self._addresses(target)), mechanism)
            case "mx":
                return await self._is_exchanger(target, mechanism)
            case "ptr":
                return any(_is_below(name, target) for name in await self._validated_names())
            case _:
                return bool(self._known(await self.resolver.ipv4(target)).records)

    async def _included(self, target: str) -> bool:
        result, _, _ = await self.host(target, top=False)
        if result is Result.NONE:
            raise _Ended(Result.PERMERROR, "include of a domain without a record")
        return result is Result.PASS

    async def _is_exchanger(self, target: str, mechanism: Mechanism) -> bool:
        hosts = [record.host for record in self._known(await self.resolver.exchangers(target)).records if record.host]
        if len(hosts) > MAX_EXCHANGERS:
            raise _Ended(Result.PERMERROR, "too many mail exchangers")
        answers = await asyncio.gather(*map(self._addresses, hosts))
        for answer in answers:
            if not answer.failed and self._among(answer, mechanism):
                return True
        if any(answer.failed for answer in answers):
            raise _Ended(Result.TEMPERROR, "no answer from DNS for a mail exchanger")
        return False

    async def _addresses(self, name: str) -> Answer[IPv4Address] | Answer[IPv6Address]:
        """Of the version that the client's address has."""
        return await (self.resolver.ipv4(name) if self.address.version == 4 else self.resolver.ipv6(name))

    def _among(self, answer: Answer[IPv4Address] | Answer[IPv6Address], mechanism: Mechanism) -> bool:
        prefix = mechanism.prefix4 if self.address.version == 4 else mechanism.prefix6
        shift = self.address.max_prefixlen - prefix
        return any(int(found) >> shift == int(self.address) >> shift for found in answer.records)

    async def _validated_names(self) -> list[str]:
        """RFC 7208 5.5: names of the address, of the first ten, that have the address. What fails is left out."""
        if self.names is None:
            pointers = (await self.resolver.names_of(self.address)).records[:MAX_POINTERS]
            answers = await asyncio.gather(*map(self._addresses, pointers))
            self.names = [
                name for name, answer in zip(pointers, answers, strict=True) if self.address in answer.records
            ]
        return self.names

    # Limits (RFC 7208 4.6.4)

    def _count(self) -> None:
        self.lookups += 1
        if self.lookups > MAX_LOOKUPS:
            raise _Ended(Result.PERMERROR, "too many DNS lookups")

    def _known(self, answer: AnswerOf) -> AnswerOf:
        """The answer, counted when it brings nothing."""
        if answer.failed:
            raise _Ended(Result.TEMPERROR, "no answer from DNS")
        if not answer.records:
            self.void += 1
            if self.void > MAX_VOID:
                raise _Ended(Result.PERMERROR, "too many DNS lookups that bring nothing")
        return answer

    # Macros (RFC 7208 7)

    async def _name(self, spec: MacroString, domain: str) -> str:
        return spec.expand_name(await self._values(spec, domain))

    async def _values(self, spec: MacroString, domain: str) -> dict[str, str]:
        version = self.address.version
        digits = str(self.address) if version == 4 else ".".join(self.address.exploded.replace(":", ""))
        values = {
            "s": f"{self.local}@{self.sender_domain}",
            "l": self.local,
            "o": self.sender_domain,
            "d": domain,
            "i": digits,
            "v": "in-addr" if version == 4 else "ip6",
            "h": self.hello,
            "c": str(self.address),
            "r": self.receiver,
            "t": str(int(self.clock())),
        }
        if "p" in spec.letters:
            names = await self._validated_names()
            below = [name for name in names if _is_below(name, domain)]
            values["p"] = domain if domain in names else (below or names or ["unknown"])[0]
        return values

    async def _explain(self, spec: MacroString, domain: str) -> str:
        """RFC 7208 6.2: one TXT record; anything wrong with it means none."""
        answer = await self.resolver.texts(await self._name(spec, domain))
        if len(answer.records) != 1:
            return ""
        try:
            text = parse_macros(answer.records[0].decode("ascii"), IN_EXPLANATIONS, spaces=True)
        except (UnicodeDecodeError, InvalidMacro):
            return ""
        found = text.expand(await self._values(text, domain))
        return found[:MAX_EXPLANATION] if _PRINTABLE.match(found) else ""


def _is_below(name: str, domain: str) -> bool:
    domain = domain.lower()
    return name == domain or name.endswith(f".{domain}")
