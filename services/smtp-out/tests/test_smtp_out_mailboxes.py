"""Mail of the queue for mailboxes of the cluster."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import AccountRecord, Storage, StorageSettings
from posthorn_storage.codes import LOCAL_SITE

pytestmark = [pytest.mark.postgres, pytest.mark.timeout(300)]


async def test_an_account_that_went_away_meanwhile_is_looked_up_again(
    storage: Storage,
    storage_settings: StorageSettings,
    start: Callable[..., Awaitable[Any]],
    account: Callable[..., Awaitable[AccountRecord]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(storage.recipients._recent, "_seconds", 3600.0)
    await account("bob@example.org")
    assert (await storage.recipients.find(["bob@example.org"]))["bob@example.org"].accounts  # and remembered
    other = await Storage.open(storage_settings)
    await other.directory.delete_account("bob@example.org")
    await other.close()
    blob = await storage.blobs.prepare(b"From: eve@example.net\r\n\r\nthe body\r\n", queued=True)
    recipients = [NewRecipient("bob@example.org", LOCAL_SITE, notify="NEVER")]
    message = await storage.queue.enqueue(NewQueueMessage("eve@example.net", blob, recipients))
    await start(retry=(0.1,))
    told: list[tuple[str, str]] = []
    async with asyncio.timeout(120):
        while len(told) < 2:
            await asyncio.sleep(0.05)
            told = [event for event in await events(storage, message) if event[0] != "queued"]
    (first, put_off), (last, refused) = told
    assert (first, last) == ("deferred", "failed")
    assert put_off.startswith("451 4.2.1")
    assert refused.startswith("550 5.1.1")


async def events(storage: Storage, message: int) -> list[tuple[str, str]]:
    """What became of it, as (kind, text), the oldest first."""
    rows = await storage._database.fetch(
        "SELECT kind, reply FROM queue_event WHERE message_id = $1 ORDER BY at, id", message
    )
    return [(row["kind"], row["reply"]) for row in rows]
