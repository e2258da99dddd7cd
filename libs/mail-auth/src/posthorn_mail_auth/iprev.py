"""iprev (RFC 8601 3): whether an address has a name that has the address."""

from enum import StrEnum
from ipaddress import IPv4Address, IPv6Address
from typing import NamedTuple

from posthorn_mail_auth.addresses import client_address
from posthorn_mail_auth.side_by_side import all_of
from posthorn_model.resolving import Answer, Outcome, Resolver

MAX_NAMES = 5


class Result(StrEnum):
    """RFC 8601 2.7.3."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class IprevResult(NamedTuple):
    """What became of the check; `name` is the one that leads back, "" without one."""

    result: Result
    name: str = ""


async def check(resolver: Resolver, address: str) -> IprevResult:
    """Ask for the first names of an address and for their addresses. Raises ValueError for what is no address."""
    found = client_address(address)
    answer = await resolver.names_of(found)
    if answer.failed:
        return IprevResult(Result.TEMPERROR)
    if answer.outcome is not Outcome.RECORDS:
        return IprevResult(Result.PERMERROR)
    names = answer.records[:MAX_NAMES]
    answers: list[Answer[IPv4Address] | Answer[IPv6Address]] = await all_of(
        [resolver.ipv4(name) if found.version == 4 else resolver.ipv6(name) for name in names]
    )
    for name, addresses in zip(names, answers, strict=True):
        if found in addresses.records:
            return IprevResult(Result.PASS, name)
    failed = any(addresses.failed for addresses in answers)
    return IprevResult(Result.TEMPERROR if failed else Result.FAIL)
