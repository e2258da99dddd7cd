"""Databases full of mail for the storage rows: real PostgreSQL, fsync on."""

import hashlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

from bench.filling import Shape, Tell, fill
from posthorn_mail_format import summarize
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import NewMessage
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.mail.provision import create_in
from posthorn_storage.migrate import migrate

LINE = b"The quick brown fox jumps over the lazy dog, again and again.\r\n"
_serial = itertools.count(1)

ACCOUNTS = """
INSERT INTO account (domain_id, address)
SELECT domain.id, 'u' || n || '@example.org' FROM domain, generate_series(1, $1::int) AS n
RETURNING id, address
"""


@dataclass(frozen=True, slots=True)
class Stock:
    """One filled database and the Storage over it."""

    dsn: str
    storage: Storage
    accounts: list[AccountId]
    shape: Shape

    async def inbox(self, account: AccountId) -> MailboxId:
        """The inbox of an account."""
        return next(box.id for box in await self.storage.mail.mailboxes(account) if box.role == "inbox")


@asynccontextmanager
async def stocked(server: str, accounts: int, shape: Shape, tell: Tell = lambda _text: None) -> AsyncIterator[Stock]:
    """A database of its own on the server of this superuser's DSN: accounts with mail in each inbox."""
    name = f"bench_{accounts}_{shape.messages}_{time.time_ns()}"
    await _run(server, f"CREATE DATABASE {name}")
    dsn = urlsplit(server)._replace(path=f"/{name}").geturl()
    try:
        await migrate(dsn)
        numbers = await _fill(dsn, accounts, shape, tell)
        storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None))
        try:
            yield Stock(dsn, storage, numbers, shape)
        finally:
            await storage.close()
    finally:
        await _run(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _run(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


async def _fill(dsn: str, accounts: int, shape: Shape, tell: Tell) -> list[AccountId]:
    connection = await asyncpg.connect(dsn)
    await connection.execute("INSERT INTO domain (name) VALUES ('example.org')")
    made = [(row["id"], row["address"]) for row in await connection.fetch(ACCOUNTS, accounts)]
    for first in range(0, accounts, 10_000):
        await create_in(connection, made[first : first + 10_000])
    await connection.close()
    await fill(dsn, shape, tell)
    return [account for account, _ in made]


async def new_messages(storage: Storage, accounts: list[AccountId], count: int) -> list[NewMessage]:
    """Deliveries of about 2 KB, one each to the accounts in turn, scanned and ready to be stored."""
    made = []
    for account in itertools.islice(itertools.cycle(accounts), count):
        n = next(_serial)
        head = (
            f"From: Some One <a{n % 50}@example.net>\r\nTo: B <b@example.org>\r\nSubject: n {n}\r\n"
            f"Message-ID: <{time.time_ns()}.{n}@x>\r\nDate: Tue, 24 Nov 2026 10:00:00 +0000\r\n\r\n"
        )
        data = head.encode() + LINE * 30
        made.append(
            NewMessage(
                account,
                [],
                summarize(data),
                await storage.blobs.prepare(data),
                delivery_id=uuid.uuid4(),
                dedupe=hashlib.sha256(data).digest(),
                delivered=True,
            )
        )
    return made
