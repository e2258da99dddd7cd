"""Counters of accounts, asked for by many at once: everybody has an answer that is no older than the question."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from posthorn_model.errors import AccountNotFound, Unavailable
from posthorn_model.ids import AccountId
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.database import Database, Row
from posthorn_storage.mail.counters import Counters
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
NOBODY = AccountId(10**15)


class Counting(Database):
    """The real one of a storage, and how many accounts each of its statements was about."""

    def __init__(self, real: Database) -> None:
        super().__init__(real._connections, real._admission, real._work)
        self.asked: list[int] = []

    async def fetch(self, query: str, *arguments: Any) -> list[Row]:
        self.asked.append(len(arguments[0]))
        return await super().fetch(query, *arguments)


async def test_questions_that_come_together_are_one_statement(storage: Storage, account: MakeAccount) -> None:
    people = [(await account(f"p{number}@example.org")).id for number in range(5)]
    homes = [await storage.shards.of(person) for person in people]
    database = Counting(homes[0].database)
    counters = Counters(database)
    rows = await asyncio.gather(*(counters.read(person) for person in (*people, *people, NOBODY)))
    assert database.asked == [6]
    assert rows[:5] == rows[5:10]
    assert [row["account_id"] for row in rows[:5] if row is not None] == [
        person for person, home in zip(people, homes, strict=True) if home is homes[0]
    ]
    assert rows[10] is None


async def test_a_question_is_not_answered_by_what_was_read_before_it(
    storage: Storage, account: MakeAccount, new_message: MakeMessage
) -> None:
    ann = (await account()).id
    mail = storage.mail

    async def change_and_ask(number: int) -> None:
        (appended,) = await mail.append([new_message(ann, text=str(number))])
        assert await mail.state(ann) >= appended.modseq
        assert (await mail.quota(ann))[1] >= 1

    await asyncio.gather(*(change_and_ask(number) for number in range(20)))
    assert (await mail.quota(ann))[:2] == (20_000, 20)


async def test_whoever_is_not_there_or_goes_away_disturbs_nobody(mail: MailStore, account: MakeAccount) -> None:
    ann = (await account()).id
    state = await mail.state(ann)
    tasks = [asyncio.create_task(mail.state(each)) for each in (ann, NOBODY, ann, ann)]
    await asyncio.sleep(0)  # all have asked
    tasks[2].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(each) for each in found] == [int, AccountNotFound, asyncio.CancelledError, int]
    assert (found[0], found[3]) == (state, state)


async def test_without_the_database_everybody_hears_it_and_may_ask_again(postgres_dsn: str) -> None:
    database = await Database.open(postgres_dsn)
    counters = Counters(database)
    assert await counters.read(NOBODY) is None
    await database.close()
    for _ in range(2):
        found = await asyncio.gather(*(counters.read(NOBODY) for _ in range(3)), return_exceptions=True)
        assert [type(each) for each in found] == [Unavailable] * 3


async def test_mailboxes_come_with_the_modseq_they_have_then(
    mail: MailStore, account: MakeAccount, new_message: MakeMessage
) -> None:
    ann = (await account()).id
    mailboxes, modseq = await mail.mailboxes_at(ann)
    assert (mailboxes, modseq) == (await mail.mailboxes(ann), await mail.state(ann))
    await mail.append([new_message(ann)])
    after, later = await mail.mailboxes_at(ann)
    assert later > modseq
    assert [box.total for box in after] == [int(box.role is Role.INBOX) for box in mailboxes]
    with pytest.raises(AccountNotFound):
        await mail.mailboxes_at(NOBODY)
