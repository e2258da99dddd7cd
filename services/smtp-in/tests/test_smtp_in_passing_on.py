"""Groups, forwards, lists and bounces that come back, in conversation."""

from dataclasses import replace
from typing import Any

import pytest

from posthorn_model.errors import TooMany
from posthorn_storage import StorageSettings
from posthorn_storage.queue import QueueFilter

pytestmark = pytest.mark.postgres
HELLO = "S: 220 *\nC: EHLO c\nS: 250-*\n"
SEND = "C: DATA\nS: 354 *\nC: Subject: x\nC:\nC: x\nC: .\nS: 250 *\n"


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    """With a secret, by which senders are rewritten."""
    return replace(storage_settings, secrets=("the secret of the cluster",))


def envelope(*recipients: str, sender: str = "eve@example.net") -> str:
    return f"C: MAIL FROM:<{sender}>\nS: 250 *\n" + "".join(f"C: RCPT TO:<{to}>\nS: 250 *\n" for to in recipients)


async def queued(service: Any) -> list[Any]:
    return sorted(await service.parts.storage.queue.messages(QueueFilter()), key=lambda message: message.id)


async def test_a_group_is_delivered_here_and_passed_on_there(service: Any, people: Any) -> None:
    put = service.parts.storage.distributions.put
    await put("group", "team@example.org", ["ann@example.org", "bob@example.org", "fay@example.com", "gus@example.com"])
    async with await service.connect() as talk:
        await talk.play(HELLO + envelope("team@example.org", "ann@example.org") + SEND)
    assert [len(await service.inbox(person)) for person in people] == [1, 1]
    (message,) = await queued(service)
    assert message.sender.startswith("SRS0=")
    assert message.sender.endswith("=example.net=eve@example.org")
    assert [(to.address, to.site) for to in message.recipients] == [
        ("fay@example.com", "example.com"),
        ("gus@example.com", "example.com"),
    ]
    content = await service.parts.storage.queue.message_blob(message.id)
    assert content.startswith(b"Delivered-To: team@example.org\r\nReceived: from c ")
    # It comes round again: refused, nobody has it twice.
    async with await service.connect() as talk:
        await talk.play(HELLO + envelope("team@example.org") + "C: DATA\nS: 354 *")
        talk.send(content + b".\r\n")
        await talk.play("S: 554 5.4.6 *")
    assert len(await queued(service)) == 1


async def test_a_forward_keeps_a_copy_or_not_and_reports_come_back(service: Any, people: Any) -> None:
    put = service.parts.storage.distributions.put
    await put("forward", "ann@example.org", ["ann@example.com"])
    await put("forward", "bob@example.org", ["bob@example.com", "bob@example.org"])
    async with await service.connect() as talk:
        await talk.play(
            HELLO
            + envelope("ann@example.org", "bob@example.org")
            + SEND
            + envelope("ann@example.org", sender="")
            + SEND
        )
    assert [len(await service.inbox(person)) for person in people] == [0, 1]
    first, second, report = await queued(service)
    assert {to.address for message in (first, second) for to in message.recipients} == {
        "ann@example.com",
        "bob@example.com",
    }
    assert report.sender == ""
    made = first.sender
    async with await service.connect() as talk:
        await talk.play(HELLO + envelope(made, sender="") + SEND)
        await talk.play(
            f"C: MAIL FROM:<spam@example.com>\nS: 250 *\nC: RCPT TO:<{made}>\nS: 550 5.7.1 *\nC: RSET\nS: 250 *"
        )
        forged = made.replace("example.net", "example.com")
        await talk.play(f"C: MAIL FROM:<>\nS: 250 *\nC: RCPT TO:<{forged}>\nS: 550 5.1.1 *")
    back = (await queued(service))[-1]
    assert (back.sender, [to.address for to in back.recipients]) == ("", ["eve@example.net"])


async def test_a_list_is_for_those_who_may_write_to_it_and_goes_to_the_queue(service: Any, people: Any) -> None:
    put = service.parts.storage.distributions.put
    await put("list", "news@example.org", ["bob@example.org"], owner="ann@example.org", posting="members")
    await put("list", "quiet@example.org", ["bob@example.org"], owner="ann@example.org", posting="nobody")
    await put("list", "open@example.org", ["bob@example.org"], owner="ann@example.org")
    for sender, recipient, answer in (
        ("eve@example.net", "news@example.org", "550 5.7.1 You may not write to this list"),
        ("bob@example.org", "quiet@example.org", "550 5.7.1 *"),
        ("", "open@example.org", "550 5.7.1 *"),
        ("bob@example.org", "news@example.org", "250 *"),
        ("ann+x@example.org", "quiet@example.org", "250 *"),
        ("", "open-bounces@example.org", "250 *"),
    ):
        async with await service.connect() as talk:
            await talk.play(HELLO + f"C: MAIL FROM:<{sender}>\nS: 250 *\nC: RCPT TO:<{recipient}>\nS: {answer}")
    async with await service.connect() as talk:
        await talk.play(HELLO + envelope("open@example.org", "bob@example.org") + SEND)
    (message,) = await queued(service)
    assert message.sender == "eve@example.net"  # the list's own name comes with its members
    assert [(to.address, to.site) for to in message.recipients] == [("open@example.org", "local")]
    assert [len(await service.inbox(person)) for person in people] == [0, 1]


async def test_lmtp_answers_for_each_of_them(service: Any, people: Any) -> None:
    put = service.parts.storage.distributions.put
    await put("list", "open@example.org", ["bob@example.org"], owner="ann@example.org")
    await put("group", "team@example.org", ["ann@example.org", "fay@example.com"])
    async with await service.connect("lmtp") as talk:
        await talk.play(
            "S: 220 *\nC: LHLO c\nS: 250-*\n" + envelope("open@example.org", "team@example.org", "bob@example.org")
        )
        await talk.play("C: DATA\nS: 354 *\nC: x\nC: .\nS: 250 *\nS: 250 *\nS: 250 *")
    assert {to.address for message in await queued(service) for to in message.recipients} == {
        "open@example.org",
        "fay@example.com",
    }
    assert [len(await service.inbox(person)) for person in people] == [1, 1]


async def test_an_address_that_leads_too_far_is_refused_and_the_session_lives(service: Any, people: Any) -> None:
    put = service.parts.storage.distributions.put
    for number in range(10):
        await put("group", f"g{number}@example.org", [f"g{number + 1}@example.org"])
    with pytest.raises(TooMany):
        await service.parts.storage.recipients.find(["g0@example.org"])
    async with await service.connect() as talk:
        await talk.play(HELLO + "C: MAIL FROM:<e@f.net>\nS: 250 *\nC: RCPT TO:<g0@example.org>\nS: 452 4.5.3 *")
        await talk.play("C: RCPT TO:<ann@example.org>\nS: 250 *")
