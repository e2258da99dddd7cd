"""Recipients in conversation: catch-alls, details and the mailboxes they name, room, relaying."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_smtp_in.judge import Kind, Room, judge_room
from posthorn_smtp_in.recipients.relay import may_relay
from posthorn_smtp_in.settings import RelaySettings
from posthorn_storage import Storage, StorageSettings, SubAddressing
from posthorn_storage.queue import QueueFilter

HELLO = "S: 220 *\nC: EHLO c\nS: 250-*\n"
postgres = pytest.mark.postgres


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    """Two delimiters, and details name mailboxes."""
    return replace(storage_settings, sub_addressing=SubAddressing(delimiters="+-", mailboxes=True))


async def send(service: Any, *recipients: str, listener: str = "lmtp", body: str = "") -> None:
    """Another message for other recipients: equal content would be a repeat, with a reply that was lost."""
    async with await service.connect(listener) as talk:
        await talk.play(f"S: 220 *\nC: {'LHLO' if listener == 'lmtp' else 'EHLO'} c\nS: 250-*")
        await talk.play("C: MAIL FROM:<eve@example.net>\nS: 250 *")
        for address in recipients:
            await talk.play(f"C: RCPT TO:<{address}>\nS: 250 *")
        await talk.play(f"C: DATA\nS: 354 *\nC: {body or ' '.join(recipients)}\nC: .")
        for _ in recipients if listener == "lmtp" else "1":
            await talk.play("S: 250 *")


async def totals(service: Any, account: Any) -> dict[str, int]:
    """How many messages each mailbox of an account has, if any."""
    boxes = await service.parts.storage.mail.mailboxes(account.id)
    return {box.name.lower(): box.total for box in boxes if box.total}


@postgres
@pytest.mark.parametrize("listener", ["smtp", "lmtp"])
async def test_a_detail_leads_to_the_mailbox_of_its_name(service: Any, people: Any, listener: str) -> None:
    ann, bob = people
    mail = service.parts.storage.mail
    lists = await mail.create_mailbox(ann.id, "Lists")
    await mail.create_mailbox(ann.id, "deep", lists.id)
    for recipient in ("ann+lists@example.org", "ann-LISTS@example.org", "ann+none@example.org"):
        await send(service, recipient, listener=listener)
    for special in ("ann+sent@example.org", "ann+trash@example.org", "ann+deep@example.org", "ann+@example.org"):
        await send(service, special, listener=listener)
    await send(service, "ann+lists@example.org", "bob+lists@example.org", listener=listener)
    assert await totals(service, ann) == {"lists": 3, "inbox": 5}
    assert await totals(service, bob) == {"inbox": 1}


@postgres
async def test_a_mailbox_that_vanishes_before_the_content_gives_way_to_the_inbox(service: Any, people: Any) -> None:
    mail = service.parts.storage.mail
    box = await mail.create_mailbox(people[0].id, "lists")
    async with await service.connect() as talk:
        await talk.play(HELLO + "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<ann+lists@example.org>\nS: 250 *")
        await mail.delete_mailbox(people[0].id, box.id, remove_messages=True)
        await talk.play("C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *")
    assert await totals(service, people[0]) == {"inbox": 1}


@postgres
async def test_an_address_with_a_delimiter_in_it_is_itself(service: Any, account: Any) -> None:
    mary, both = await account("mary@example.org"), await account("mary-ann@example.org")
    for name in ("mary-ann", "mary-ann+x", "mary-eve+x", "mary"):
        await send(service, f"{name}@example.org")
    assert await totals(service, mary) == {"inbox": 2}
    assert await totals(service, both) == {"inbox": 2}


@postgres
async def test_a_catch_all_takes_what_nobody_has_and_is_ended_by_removing_it(service: Any, people: Any) -> None:
    directory = service.parts.storage.directory
    await directory.add_alias("@example.org", "bob@example.org")
    await send(service, "whoever@example.org", "ann+x@example.org")
    assert (await totals(service, people[0]), await totals(service, people[1])) == ({"inbox": 1}, {"inbox": 1})
    assert await directory.list_aliases() == [("@example.org", "bob@example.org")]
    assert await directory.remove_alias("@example.org") == 1
    async with await service.connect() as talk:
        await talk.play(HELLO + "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<whoever@example.org>\nS: 550 5.1.1 *")


@postgres
async def test_a_mailbox_that_is_gone_costs_nobody_else_the_message(
    service: Any, people: Any, storage_settings: StorageSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(service.parts.storage.recipients._recent, "_seconds", 3600.0)
    await send(service, "bob@example.org")  # who that is will be remembered
    other = await Storage.open(storage_settings)
    await other.directory.delete_account("bob@example.org")
    await other.close()
    both = "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<ann@example.org>\nS: 250 *\nC: RCPT TO:<bob@example.org>\n"
    async with await service.connect() as talk:
        await talk.play(HELLO + both + "S: 250 *\nC: DATA\nS: 354 *\nC: x\nC: .\nS: 451 4.2.1 *")
        assert await totals(service, people[0]) == {}
        await talk.play(both + "S: 550 5.1.1 *\nC: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *")
    assert await totals(service, people[0]) == {"inbox": 1}


@postgres
async def test_room_is_estimated_at_rcpt_and_judged_with_the_content(service: Any, account: Any) -> None:
    small = await account("small@example.org", quota=1000)
    await account("wide@example.org")
    mail = "C: MAIL FROM:<e@f.net>{size}\nS: 250 *\nC: RCPT TO:<small@example.org>\nS: {answer}"
    async with await service.connect() as talk:
        await talk.play(HELLO + mail.format(size=" SIZE=1001", answer="552 5.2.3 *") + "\nC: RSET\nS: 250 *")
        await talk.play(mail.format(size=" SIZE=300", answer="250 *") + "\nC: DATA\nS: 354 *")
        talk.send(b"x" * 600 + b"\r\n.\r\n")
        await talk.play("S: 250 *")
        await talk.play(mail.format(size=" SIZE=600", answer="452 4.2.2 *") + "\nC: RSET\nS: 250 *")
        await talk.play(mail.format(size="", answer="250 *") + "\nC: DATA\nS: 354 *")
        talk.send(b"x" * 600 + b"\r\n.\r\n")
        await talk.play("S: 452 4.2.2 *")
        await talk.play(mail.format(size="", answer="250 *") + "\nC: DATA\nS: 354 *")
        talk.send((b"x" * 600 + b"\r\n") * 2 + b".\r\n")
        await talk.play("S: 552 5.2.3 *")
        # One of two has room: the client shall come again, and may do without the other.
        await talk.play(mail.format(size="", answer="250 *") + "\nC: RCPT TO:<wide@example.org>\nS: 250 *")
        await talk.play("C: DATA\nS: 354 *")
        talk.send((b"x" * 600 + b"\r\n") * 2 + b".\r\n")
        await talk.play("S: 452 4.2.2 *")
    assert await totals(service, small) == {"inbox": 1}


@postgres
async def test_networks_of_the_settings_may_relay_and_nobody_else(start: Any, people: Any) -> None:
    ask = "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<eve@example.net>\nS: {}"
    service = await start(relay=RelaySettings(networks=("127.0.0.0/8",)))
    async with await service.connect() as talk:
        await talk.play(HELLO + ask.format("250 2.1.5 *") + "\nC: RCPT TO:<ann@example.org>\nS: 250 *")
        await talk.play("C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *")
    (queued,) = await service.parts.storage.queue.messages(QueueFilter())
    assert [each.address for each in queued.recipients] == ["eve@example.net"]
    signs = await service.parts.storage._database.fetchval("SELECT signing_domain FROM queue_message")
    assert signs is None, "nobody has logged in"
    async with await service.connect("proxied") as talk:
        talk.send(b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n")
        await talk.play(HELLO + ask.format("550 5.7.1 Relaying denied"))
    async with await service.connect("plain") as talk:
        await talk.play(HELLO + "C: MAIL FROM:<e@f.net>\nS: 530 *")


@postgres
async def test_what_a_network_relays_is_signed_where_the_settings_trust_it(start: Any, people: Any) -> None:
    service = await start(relay=RelaySettings(networks=("127.0.0.0/8",), sign=True))
    await service.parts.storage.distributions.put(
        "list", "out@example.org", ["eve@example.net"], owner="ann@example.org"
    )
    message = "\nC: RCPT TO:<{}>\nS: 250 *\nC: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *\n"
    async with await service.connect() as talk:
        await talk.play(HELLO + "C: MAIL FROM:<app@Example.org>\nS: 250 *" + message.format("eve@example.net"))
        await talk.play("C: MAIL FROM:<>\nS: 250 *" + message.format("eve@example.net"))
    async with await service.connect("proxied") as talk:
        talk.send(b"PROXY TCP4 198.51.100.7 127.0.0.1 12345 25\r\n")
        await talk.play(HELLO + "C: MAIL FROM:<app@example.org>\nS: 250 *" + message.format("out@example.org"))
    rows = await service.parts.storage._database.fetch("SELECT signing_domain FROM queue_message ORDER BY id")
    assert [row["signing_domain"] for row in rows] == ["example.org", None, None]


@pytest.mark.parametrize(
    ("address", "kind", "expected"),
    [
        ("192.0.2.7", Kind.SMTP, True),
        ("::ffff:192.0.2.7", Kind.SMTP, True),
        ("2001:db8::1", Kind.SMTP, True),
        ("fe80::1%eth0", Kind.SMTP, False),
        ("198.51.100.1", Kind.SMTP, False),
        ("", Kind.SMTP, False),
        ("192.0.2.7", Kind.LMTP, False),
    ],
)
def test_who_may_relay(address: str, kind: Kind, expected: bool) -> None:
    assert may_relay(RelaySettings(networks=("192.0.2.0/24", "2001:db8::/32")), kind, address) is expected
    assert not may_relay(RelaySettings(), kind, address)


@given(st.integers(0, 2000), st.integers(0, 2000), st.integers(0, 2000))
def test_room_is_refused_for_good_only_where_an_empty_mailbox_would_not_do(used: int, limit: int, size: int) -> None:
    room = judge_room(used, limit, size)
    assert (room is Room.FITS) == (used + max(size, 1) <= limit)
    assert (room is Room.NEVER) == (judge_room(0, limit, size) is not Room.FITS)
    assert judge_room(used, None, size) is Room.FITS
