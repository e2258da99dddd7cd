"""A delivery that is repeated, as after a kill, comes to the same as it came to the first time."""

import io
from collections.abc import Awaitable, Callable
from dataclasses import replace
from uuid import UUID, uuid4

import pytest
import pytest_asyncio
import structlog

from posthorn_delivery import Arrival, Filing, Scripts, Sealer, file_by_scripts, store
from posthorn_mail_format import summarize
from posthorn_model.clock import SystemClock
from posthorn_model.errors import AccountNotFound
from posthorn_model.ids import AccountId
from posthorn_model.mail import NewMessage
from posthorn_storage import AccountRecord, Storage

pytestmark = pytest.mark.postgres
CONTENT = b"Return-Path: <eve@example.net>\r\nTo: ann@example.org\r\nMessage-ID: <m@example.net>\r\n\r\nthe body\r\n"
SCRIPT = """
require ["vacation", "duplicate"];
vacation "I am away.";
if duplicate { discard; stop; }
keep;
"""
File = Callable[[UUID], Awaitable[Filing]]


@pytest.fixture
def scripts(storage: Storage) -> Scripts:
    log = structlog.wrap_logger(structlog.WriteLogger(io.StringIO()))
    return Scripts(storage, "mx.example.org", SystemClock(), log, Sealer(None, SystemClock(), log))


async def use(storage: Storage, account: AccountRecord, script: str) -> None:
    await storage.sieve.put(account.id, "main", script)
    await storage.sieve.activate(account.id, "main")


@pytest_asyncio.fixture
async def file(scripts: Scripts, account: Callable[..., Awaitable[AccountRecord]]) -> File:
    """`await file(delivery)`: the filing of one message for Ann."""
    ann = await account("ann@example.org")

    async def once(delivery: UUID) -> Filing:
        storage = scripts.storage
        arrival = Arrival(delivery, "eve@example.net", CONTENT, {ann.id: ann.address}, alone=False)
        blob = await storage.blobs.prepare(CONTENT, accounts=[ann.id])
        plain = NewMessage(ann.id, (), summarize(CONTENT), blob, delivery_id=delivery, delivered=True)
        return await file_by_scripts(scripts, arrival, [plain], await storage.sieve.active([ann.id]))

    await use(scripts.storage, ann, SCRIPT)
    return once


async def test_an_answer_that_was_never_queued_is_queued_by_the_repeat(file: File, scripts: Scripts) -> None:
    delivery = uuid4()
    first = await file(delivery)  # and killed before its transaction
    again = await file(delivery)
    assert [each.delivery_id for each in again.queued] == [each.delivery_id for each in first.queued]
    assert len(first.queued) == 1
    assert first.reserved
    assert not again.reserved, "what it has not written it may not take back"
    assert (await file(uuid4())).queued == []


async def test_a_repeat_is_no_duplicate_of_itself(file: File, scripts: Scripts) -> None:
    delivery = uuid4()
    await store(scripts, await file(delivery))
    assert len((await file(delivery)).messages) == 1
    assert (await file(uuid4())).messages == []


async def test_a_delivery_that_fails_has_answered_nobody(file: File, scripts: Scripts) -> None:
    filing = await file(uuid4())
    gone = replace(filing.messages[0], account=AccountId(1 << 40))
    recipients = scripts.storage.recipients
    assert await recipients.find(["ann@example.org"])
    assert len(recipients._recent) == 1
    with pytest.raises(AccountNotFound):
        await store(scripts, replace(filing, messages=[gone]))
    assert len(recipients._recent) == 0, "who has the address now is asked for the next time"
    assert len((await file(uuid4())).queued) == 1
