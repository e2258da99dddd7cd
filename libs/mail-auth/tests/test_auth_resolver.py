"""The resolver over real packets from a server that also fails, keeps silent, cuts short and lies."""

import asyncio
from ipaddress import IPv4Address, IPv6Address
from pathlib import Path
from typing import Any

import pytest

from posthorn_mail_auth import dns_client
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_model.resolving import Answer, MailExchanger, Outcome

ZONE = {
    "all.test": {
        "TXT": ['"v=spf1 " "-all"', '"other"'],
        "A": ["192.0.2.1"],
        "AAAA": ["2001:db8::1"],
        "MX": ["10 MX.all.test.", "0 ."],
    },
    "1.2.0.192.in-addr.arpa": {"PTR": ["Host.All.test."]},
    "alias.test": {"CNAME": ["all.test."]},
    "circle.test": {"CNAME": ["circle.test."]},
    "failing.test": {"RCODE": ["SERVFAIL"]},
    "silent.test": {"SILENT": []},
    "short.test": {"TRUNCATED": [], "A": ["192.0.2.2"]},
    "liar.test": {"LIE": [], "A": ["192.0.2.66"]},
    "garbage.test": {"GARBAGE": []},
    "long.test": {"TXT": [f'"{"x" * 250}"' for _ in range(3)] + [f'"{number:04}{"y" * 200}"' for number in range(60)]},
}


async def test_what_there_is(serve: Any) -> None:
    _, resolver = await serve(ZONE)
    texts = await resolver.texts("all.test")
    assert set(texts.records) == {b"v=spf1 -all", b"other"}
    assert await resolver.ipv4("ALL.test.") == Answer(
        Outcome.RECORDS, (IPv4Address("192.0.2.1"),), canonical="all.test"
    )
    behind = Answer(Outcome.RECORDS, (IPv6Address("2001:db8::1"),), canonical="all.test")
    assert await resolver.ipv6("alias.test") == behind
    exchangers = await resolver.exchangers("all.test")
    assert set(exchangers.records) == {MailExchanger(10, "mx.all.test"), MailExchanger(0, "")}
    assert (await resolver.names_of(IPv4Address("192.0.2.1"))).records == ("host.all.test",)


async def test_what_there_is_not(serve: Any) -> None:
    _, resolver = await serve(ZONE)
    assert await resolver.ipv4("nowhere.test") == Answer(Outcome.NO_NAME)
    assert await resolver.ipv4("long.test") == Answer(Outcome.NO_DATA)
    for name in ("failing.test", "circle.test"):
        assert (await resolver.ipv4(name)).failed


@pytest.mark.parametrize("name", ["silent.test", "liar.test", "garbage.test"])
async def test_no_answer_that_makes_sense_in_time(serve: Any, name: str) -> None:
    _, resolver = await serve(ZONE, timeout=0.3)
    async with asyncio.timeout(20):
        assert await resolver.ipv4(name) == Answer(Outcome.FAILED)


@pytest.mark.parametrize(
    "name", ["", ".", "a..test", "x" * 64 + ".test", "é.test", ".".join(["x" * 60] * 5), "\udcff.a"]
)
async def test_a_name_that_dns_cannot_hold_does_not_exist(serve: Any, name: str) -> None:
    server, resolver = await serve(ZONE)
    assert (await resolver.texts(name)).outcome in (Outcome.NO_NAME, Outcome.NO_DATA)
    assert not [asked for asked, _ in server.queries if asked not in ("", ".", "@")]


async def test_no_octet_of_a_name_is_an_escape(serve: Any) -> None:
    server, resolver = await serve(ZONE)
    assert (await resolver.ipv4("a\\046b.test")).outcome is Outcome.NO_NAME
    assert server.queries == [("a\\\\046b.test", "A")]


async def test_a_long_answer_comes_by_tcp_and_is_bounded(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    _, resolver = await serve(ZONE)
    assert (await resolver.ipv4("short.test")).records == (IPv4Address("192.0.2.2"),)
    assert len((await resolver.texts("long.test")).records) == 61
    monkeypatch.setattr(dns_client, "MAX_RECORDS", 5)
    assert len((await resolver.texts("long.test")).records) == 5


async def test_an_answer_is_kept_for_its_time(serve: Any) -> None:
    server, _ = await serve(ZONE)
    now = 0.0
    resolver = DnsResolver([("127.0.0.1", server.port)], clock=lambda: now)
    for _ in range(3):
        await resolver.ipv4("all.test")
        await resolver.ipv4("nowhere.test")
        await resolver.ipv6("short.test")
    assert len([each for each in server.queries if each[0] != "short.test"]) == 2
    now = 31.0  # what is not there is forgotten first: no SOA says for how long
    await resolver.ipv4("all.test")
    await resolver.ipv4("nowhere.test")
    assert [name for name, _ in server.queries].count("nowhere.test") == 2
    now = 61.0
    await resolver.ipv4("all.test")
    assert [name for name, _ in server.queries].count("all.test") == 2


async def test_a_failure_is_not_kept(serve: Any) -> None:
    server, resolver = await serve(ZONE)
    assert (await resolver.ipv4("failing.test")).failed
    server.put("failing.test", {"A": ["192.0.2.5"]})
    assert (await resolver.ipv4("failing.test")).records == (IPv4Address("192.0.2.5"),)


async def test_the_cache_is_bounded(serve: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dns_client, "MAX_CACHED", 3)
    server, resolver = await serve(ZONE)
    for name in ("a.test", "b.test", "c.test", "d.test", "a.test", "d.test"):
        await resolver.ipv4(name)
    assert [name for name, _ in server.queries] == ["a.test", "b.test", "c.test", "d.test", "a.test"]
    await resolver.texts("long.test")
    await resolver.texts("long.test")
    assert [name for name, _ in server.queries].count("long.test") >= 2


async def test_who_asks_the_same_waits_for_the_same_answer(serve: Any) -> None:
    server, resolver = await serve(ZONE)
    first = asyncio.create_task(resolver.ipv4("all.test"))
    others = [asyncio.create_task(resolver.ipv4("all.test")) for _ in range(20)]
    await asyncio.sleep(0)
    first.cancel()
    assert {(await other).outcome for other in others} == {Outcome.RECORDS}
    assert len(server.queries) == 1


async def test_a_system_that_names_no_server_is_asked_itself(tmp_path: Path) -> None:
    for text in (None, "search example.org\n"):
        path = tmp_path / "resolv.conf"
        if text is not None:
            path.write_text(text, encoding="ascii")
        resolver = DnsResolver(timeout=0.1, system=str(path))
        assert (await resolver.ipv4("all.test")).outcome in (Outcome.FAILED, Outcome.NO_NAME)
