"""Who asks for a report of success on a delivery to a mailbox gets one, in the transaction of the delivery."""

from collections.abc import Sequence
from typing import Any

import pytest

from posthorn_model.events import QueueDue
from posthorn_storage import AccountRecord
from posthorn_storage.queue.listing import QueueFilter

pytestmark = pytest.mark.postgres


async def reports(service: Any) -> list[tuple[str, str, bytes]]:
    """What waits in the queue: recipient, site, content."""
    storage = service.parts.storage
    found = []
    for queued in await storage.queue.messages(QueueFilter()):
        assert queued.sender == ""
        (recipient,) = queued.recipients
        blob = await storage._database.fetchval("SELECT blob_key FROM queue_message WHERE id = $1", queued.id)
        found.append((recipient.address, recipient.site, await storage.blobs.read(None, blob)))
    return found


async def send(service: Any, listener: str, envelope: str, replies: int = 1) -> None:
    async with await service.connect(listener) as talk:
        await talk.play(f"""
            S: 220 *
            C: {"LHLO" if listener == "lmtp" else "EHLO"} c
            S: 250-*
            {envelope}
            C: DATA
            S: 354 *
            C: Subject: hello
            C: X-Line: grüße
            C:
            C: the body
            C: .
        """)
        for _ in range(replies):
            await talk.play("S: 250 2.6.0 *")
        await talk.play("C: QUIT\nS: 221 *")


async def test_a_wanted_success_is_reported(service: Any, people: Sequence[AccountRecord]) -> None:
    await send(
        service,
        "smtp",
        """
        C: MAIL FROM:<eve@example.net> ENVID=QQ+2B1 RET=FULL
        S: 250 *
        C: RCPT TO:<ann@example.org> NOTIFY=SUCCESS,FAILURE ORCPT=rfc822;Ann+2Bx@old.example
        S: 250 *
        C: RCPT TO:<bob@example.org> NOTIFY=FAILURE
        S: 250 *
        """,
    )
    assert len(await service.inbox(people[0])) == len(await service.inbox(people[1])) == 1
    ((address, site, content),) = await reports(service)
    assert (address, site) == ("eve@example.net", "example.net")
    text = content.decode()
    for line in (
        "To: eve@example.net",
        "Original-Envelope-Id: QQ+1",
        "Reporting-MTA: dns; mx.example.org",
        "Original-Recipient: rfc822;Ann+x@old.example",
        "Final-Recipient: rfc822;ann@example.org",
        "Action: delivered",
        "Status: 2.1.5",
        "X-Line: grüße",
    ):
        assert f"\r\n{line}\r\n" in text, line
    assert "bob@example.org" not in text
    assert "the body" not in text
    assert "Return-Path:" not in text
    shard = service.parts.storage.queue.shard_of("example.net")
    assert [event.shard for event in service.events if isinstance(event, QueueDue)] == [shard]


async def test_lmtp_reports_recipient_by_recipient(service: Any, people: Sequence[AccountRecord]) -> None:
    await send(
        service,
        "lmtp",
        """
        C: MAIL FROM:<eve@example.net>
        S: 250 *
        C: RCPT TO:<ann@example.org> NOTIFY=SUCCESS
        S: 250 *
        C: RCPT TO:<bob@example.org> NOTIFY=SUCCESS
        S: 250 *
        """,
        replies=2,
    )
    found = sorted(content.decode() for _, _, content in await reports(service))
    assert ["ann@" in text for text in found].count(True) == ["bob@" in text for text in found].count(True) == 1


@pytest.mark.parametrize(
    ("sender", "notify"),
    [
        ("eve@example.net", ""),
        ("eve@example.net", " NOTIFY=NEVER"),
        ("eve@example.net", " NOTIFY=DELAY,FAILURE"),
        ("", " NOTIFY=SUCCESS"),
    ],
)
async def test_nobody_else_is_told(service: Any, people: Sequence[AccountRecord], sender: str, notify: str) -> None:
    await send(service, "smtp", f"C: MAIL FROM:<{sender}>\nS: 250 *\nC: RCPT TO:<ann@example.org>{notify}\nS: 250 *")
    assert len(await service.inbox(people[0])) == 1
    assert await reports(service) == []
