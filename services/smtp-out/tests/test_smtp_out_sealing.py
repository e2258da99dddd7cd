"""What a list sends on is sealed with what was found when the message came in, and signed as the list's own."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import dkim
import pytest

from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage import AccountRecord, Storage, StorageSettings
from posthorn_storage.codes import LOCAL_SITE
from posthorn_storage.dkim import NewDkimKey, made
from posthorn_testkit.sink import Sink

pytestmark = pytest.mark.postgres
RSA = made("rsa")
TRACE = b"Received: from c ([192.0.2.1])\r\n\tby mx.example.org (Posthorn) with SMTP id 1;\r\n"
JUDGED = b"Authentication-Results: mx.example.org;\r\n\tspf=pass smtp.mailfrom=eve@firm.test;\r\n\tarc=none\r\n"
FORGED = b"Authentication-Results: mx.example.org; dmarc=pass header.from=bank.test; arc=none\r\n"
BODY = b"From: eve@firm.test\r\nSubject: hi\r\n\r\nthe body\r\n"


@pytest.fixture
def storage_settings(storage_settings: StorageSettings) -> StorageSettings:
    return replace(storage_settings, secrets=("the secret of the cluster",))


async def test_a_list_seals_what_was_judged_and_nothing_else(
    storage: Storage, sink: Sink, start: Callable[..., Awaitable[Any]], account: Callable[..., Awaitable[AccountRecord]]
) -> None:
    await account("ann@example.org")
    key = await storage.dkim.add(NewDkimKey("example.org", RSA, active=True))
    await storage.distributions.put("list", "news@example.org", ["fay@example.com"], owner="ann@example.org")
    for number, content in enumerate((JUDGED + TRACE + BODY, TRACE + FORGED + BODY)):
        blob = await storage.blobs.prepare(content, queued=True)
        message = NewQueueMessage(f"eve{number}@firm.test", blob, [NewRecipient("news@example.org", LOCAL_SITE)])
        await storage.queue.enqueue(message)
    await start()
    sealed, plain = sorted(
        (mail.content for mail in await sink.wait(2)), key=lambda content: b"ARC-Seal" not in content
    )
    assert dkim.arc_verify(sealed, dnsfunc=lambda name, timeout=5: key.record_text.encode())[0] == b"pass"
    assert dkim.verify(sealed, dnsfunc=lambda name, timeout=5: key.record_text.encode())
    head = sealed.partition(b"Delivered-To: news@example.org\r\n")[0]
    assert b"ARC-Authentication-Results: i=1; mx.example.org;\r\n\tspf=pass" in head
    assert b"ARC-" not in plain
    assert dkim.verify(plain, dnsfunc=lambda name, timeout=5: key.record_text.encode())
