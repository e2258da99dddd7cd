"""Routing by real DNS packets: MX order, null MX, fallback to addresses, loops, failures, and set routes."""

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio

from posthorn_node.settings import ResolverSettings
from posthorn_smtp_out.resolver import NoRoute, Resolver
from posthorn_smtp_out.routes import Destination, Hop, Relay, Router
from posthorn_testkit.dns import DnsServer

RECORDS = {
    "two.example": {"MX": ["20 b.two.example.", "10 a.two.example."]},
    "a.two.example": {"A": ["192.0.2.1", "192.0.2.2"], "AAAA": ["2001:db8::1"]},
    "b.two.example": {"A": ["192.0.2.3"]},
    "null.example": {"MX": ["0 ."]},
    "bare.example": {"A": ["192.0.2.9"]},
    "empty.example": {"TXT": ['"nothing here"']},
    "alias.example": {"CNAME": ["two.example."]},
    "dead.example": {"MX": ["10 gone.example."]},
    "broken.example": {"RCODE": ["SERVFAIL"]},
    "half.example": {"MX": ["10 broken.example.", "20 b.two.example."]},
    "loop.example": {"MX": ["10 mail.here.example."]},
    "backup.example": {"MX": ["10 b.two.example.", "20 mail.here.example.", "30 a.two.example."]},
}


@pytest_asyncio.fixture
async def dns() -> AsyncIterator[DnsServer]:
    async with DnsServer(RECORDS) as server:
        yield server


def router(
    dns: DnsServer, relay: str | None = None, timeout: float = 60.0, *, ipv4_first: bool = False, **routes: str
) -> Router:
    resolver = Resolver(ResolverSettings(servers=(dns.address,), timeout=timeout), ipv4_first=ipv4_first)
    named = {name.replace("_", "."): route for name, route in routes.items()}
    return Router(resolver, hostname="mail.here.example", port=2525, relay=relay, routes=named)


async def hosts(dns: DnsServer, site: str) -> list[tuple[str, str]]:
    return [(hop.host, hop.address) for hop in await router(dns).hops(Destination(site))]


async def test_exchangers_are_tried_by_preference_with_all_their_addresses(dns: DnsServer) -> None:
    found = await hosts(dns, "two.example")
    assert [host for host, _ in found] == ["a.two.example"] * 3 + ["b.two.example"]
    assert found[0] == ("a.two.example", "2001:db8::1")
    assert {address for _, address in found[1:3]} == {"192.0.2.1", "192.0.2.2"}
    assert found[3:] == [("b.two.example", "192.0.2.3")]
    assert sorted(await hosts(dns, "alias.example")) == sorted(found)
    families = [":" in hop.address for hop in await router(dns, ipv4_first=True).hops(Destination("two.example"))]
    assert families == [False, True, False, False]


async def test_without_mx_the_address_counts(dns: DnsServer) -> None:
    assert await hosts(dns, "bare.example") == [("bare.example", "192.0.2.9")]


async def test_one_exchanger_that_fails_leaves_the_others(dns: DnsServer) -> None:
    assert await hosts(dns, "half.example") == [("b.two.example", "192.0.2.3")]


async def test_only_better_exchangers_than_ourselves_are_used(dns: DnsServer) -> None:
    assert await hosts(dns, "backup.example") == [("b.two.example", "192.0.2.3")]


@pytest.mark.parametrize(
    ("site", "code", "status"),
    [
        ("null.example", 556, "5.1.10"),
        ("nowhere.example", 550, "5.1.2"),
        ("empty.example", 550, "5.4.4"),
        ("dead.example", 451, "4.4.4"),
        ("broken.example", 451, "4.4.3"),
        ("loop.example", 554, "5.4.6"),
        ("[300.0.0.1]", 550, "5.1.2"),
    ],
)
async def test_what_cannot_be_routed_says_why(dns: DnsServer, site: str, code: int, status: str) -> None:
    with pytest.raises(NoRoute) as caught:
        await hosts(dns, site)
    assert (caught.value.reply.code, caught.value.reply.status) == (code, status)


async def test_a_silent_server_is_a_temporary_failure(dns: DnsServer) -> None:
    dns.silent = True
    with pytest.raises(NoRoute) as caught:
        await router(dns, timeout=0.2).hops(Destination("two.example"))
    assert caught.value.reply.status == "4.4.3"


async def test_literals_need_no_dns(dns: DnsServer) -> None:
    assert await hosts(dns, "[192.0.2.7]") == [("[192.0.2.7]", "192.0.2.7")]
    assert await hosts(dns, "[IPv6:2001:db8::7]") == [("[IPv6:2001:db8::7]", "2001:db8::7")]
    assert dns.queries == []


async def test_answers_are_cached(dns: DnsServer) -> None:
    asked = router(dns)
    await asked.hops(Destination("two.example"))
    count = len(dns.queries)
    await asked.hops(Destination("two.example"))
    assert len(dns.queries) == count


async def test_set_routes_come_before_the_relay_and_dns(dns: DnsServer) -> None:
    chosen = router(dns, "127.0.0.1:2526", two_example="127.0.0.1:2527", bare_example="mx", home_example="local")
    assert chosen.destination("two.example") == Destination("127.0.0.1:2527", Relay((("127.0.0.1", 2527),)))
    assert chosen.destination("bare.example") == Destination("bare.example")
    assert chosen.destination("home.example") is None
    relay = chosen.destination("other.example")
    assert relay == Destination("127.0.0.1:2526", Relay((("127.0.0.1", 2526),)))
    assert await chosen.hops(relay) == [Hop("127.0.0.1", "127.0.0.1", 2526)]
