"""Rates in conversation, counted over the whole cluster: another process is another storage on the same database."""

import asyncio
import base64
from dataclasses import replace
from typing import Any

import pytest

from posthorn_model.lookup import lookup_key
from posthorn_smtp_in.judge import Kind
from posthorn_smtp_in.rates.allowance import Allowance, source_of
from posthorn_smtp_in.rates.settings import Rates, RateSettings
from posthorn_storage import RedisSettings, Storage

LOGIN = base64.b64encode(b"\0ann@example.org\0correct horse").decode()
postgres = pytest.mark.postgres
AGAIN = "try again in [1-9]* seconds"


async def client(service: Any, address: str = "198.51.100.7") -> Any:
    """A client at an address, up to its EHLO."""
    talk = await service.connect("proxied")
    talk.send(f"PROXY TCP4 {address} 127.0.0.1 12345 25\r\n".encode())
    return talk


HELLO = "S: 220 *\nC: EHLO c\nS: 250-*\n"
MAIL = "C: MAIL FROM:<e@f.net>\nS: {}\nC: RSET\nS: 250 *\n"


@postgres
async def test_messages_of_one_address_are_counted_and_told_when_to_come_again(start: Any, people: Any) -> None:
    service = await start(rates=RateSettings(address=Rates(messages="3/1h", recipients="2/1h")))
    async with await client(service) as talk:
        await talk.play(HELLO + MAIL.format("250 *") * 2)
    async with await client(service) as talk:
        await talk.play(HELLO + "C: MAIL FROM:<e@f.net>\nS: 250 *")
        await talk.play("C: RCPT TO:<nobody@example.org>\nS: 550 *" + "\nC: RCPT TO:<ann@example.org>\nS: 250 *" * 2)
        await talk.play(f"C: RCPT TO:<bob@example.org>\nS: 450 4.7.1 Too many recipients from your address, {AGAIN}")
        await talk.play("C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *")
        await talk.play(f"C: MAIL FROM:<e@f.net>\nS: 451 4.7.1 Too many messages from your address, {AGAIN}")
    assert len(await service.inbox(people[0])) == 1
    assert await service.inbox(people[1]) == []
    async with await client(service, "198.51.100.8") as talk:
        await talk.play(HELLO + MAIL.format("250 *"))
    async with await service.connect() as talk:  # from 127.0.0.1, which is exempt
        await talk.play(HELLO + MAIL.format("250 *") * 4)


@postgres
async def test_a_login_is_counted_wherever_it_comes_from(start: Any, people: Any) -> None:
    service = await start(rates=RateSettings(login=Rates(messages="1/1h", recipients="1/1h")))
    login = f"{HELLO}C: AUTH PLAIN {LOGIN}\nS: 235 *\nC: MAIL FROM:<ann@example.org>\n"
    async with await service.connect("plain") as talk:
        await talk.play(login + "S: 250 *\nC: RCPT TO:<bob@example.org>\nS: 250 *")
        await talk.play(f"C: RCPT TO:<e@f.net>\nS: 450 4.7.1 Too many recipients from your login, {AGAIN}")
    async with await service.connect("submissions", tls=True) as talk:
        await talk.play(login + f"S: 451 4.7.1 Too many messages from your login, {AGAIN}")


@postgres
async def test_domains_of_senders_and_recipients_are_counted(start: Any, people: Any) -> None:
    rates = RateSettings(sender_domain=Rates(messages="1/1h"), recipient="1/1h")
    service = await start(rates=rates)
    async with await client(service) as talk:
        await talk.play(HELLO + "C: MAIL FROM:<a@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *")
        await talk.play(f"C: RCPT TO:<Ann@example.org>\nS: 450 4.7.1 Too many messages for this recipient, {AGAIN}")
        await talk.play("C: RCPT TO:<bob@example.org>\nS: 250 *\nC: RSET\nS: 250 *")
        await talk.play(f"C: MAIL FROM:<b@F.net>\nS: 451 4.7.1 Too many messages from the sender's domain, {AGAIN}")
        await talk.play(MAIL.format("250 *").replace("f.net", "g.net") + MAIL.format("250 *").replace("e@f.net", ""))


@postgres
async def test_connections_of_an_address_are_counted_and_given_back(start: Any, people: Any) -> None:
    service = await start(rates=RateSettings(connections_per_address=2))
    first, second = await client(service), await client(service)
    for talk in (first, second):
        await talk.play(HELLO)
    async with await client(service) as talk:
        await talk.play("S: 421 4.7.0 Too many connections from your address*\nS:")
    async with await client(service, "198.51.100.8") as talk:
        await talk.play(HELLO)
    await first.play("C: QUIT\nS: 221 *\nS:")
    async with asyncio.timeout(90):
        place = lookup_key("smtp", "connections", "198.51.100.7")
        while len(await service.parts.storage.lookup.members(place)) > 1:  # noqa: ASYNC110 (a bounded poll)
            await asyncio.sleep(0.01)
    async with await client(service) as talk:
        await talk.play(HELLO)


@postgres
async def test_another_process_counts_the_same(start: Any, people: Any, storage_settings: Any) -> None:
    service = await start(rates=RateSettings(address=Rates(messages="2/1h")))
    other = await Storage.open(storage_settings)
    try:
        parts = replace(service.parts, storage=other)
        for _ in range(2):
            assert await Allowance(parts, Kind.SMTP, "198.51.100.7").refuse_message("e@f.net", None) is None
        async with await client(service) as talk:
            await talk.play(HELLO + MAIL.format("451 4.7.1 *"))
    finally:
        await other.close()


@postgres
async def test_who_is_of_one_network_of_ipv6_shares_and_lmtp_is_not_counted(start: Any, people: Any) -> None:
    parts = (await start(rates=RateSettings(address=Rates(messages="1/1h"), recipient="1/1h"))).parts
    assert await Allowance(parts, Kind.SMTP, "2001:db8::1").refuse_message("e@f.net", None) is None
    refusal = await Allowance(parts, Kind.SMTP, "2001:db8::2").refuse_message("e@f.net", None)
    assert refusal is not None
    assert (refusal.code, refusal.status) == (451, "4.7.1")
    assert await Allowance(parts, Kind.SMTP, "2001:db8:0:1::1").refuse_message("e@f.net", None) is None
    for _ in range(3):
        lmtp = Allowance(parts, Kind.LMTP, "198.51.100.7")
        assert await lmtp.enter() is None
        assert await lmtp.refuse_message("e@f.net", None) is None
        assert await lmtp.refuse_recipient("e@f.net", None, "ann@example.org", "") is None


@postgres
async def test_while_the_lookup_store_does_not_answer_nobody_is_held_up(start: Any, storage_settings: Any) -> None:
    service = await start(rates=RateSettings(address=Rates(messages="1/1h"), connections_per_address=1))
    down = await Storage.open(replace(storage_settings, lookup=RedisSettings(urls=("redis://127.0.0.1:1",))))
    try:
        parts = replace(service.parts, storage=down)
        for _ in range(3):
            allowance = Allowance(parts, Kind.SMTP, "198.51.100.7")
            assert await allowance.enter() is None
            assert await allowance.refuse_message("e@f.net", None) is None
            await allowance.leave()
    finally:
        await down.close()


@pytest.mark.parametrize(
    ("address", "source"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3::4", "2001:db8:1:2::"),
        ("fe80::1%eth0", "fe80::"),
        ("", ""),
        ("rubbish", ""),
    ],
)
def test_what_a_client_is_counted_as(address: str, source: str) -> None:
    assert source_of(address) == source
