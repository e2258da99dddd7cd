"""Databases full of mail for the storage rows: real PostgreSQL, fsync on, filled by a few set-based statements."""

import hashlib
import itertools
import time
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import urlsplit

import asyncpg

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

PLACES = """
CREATE UNLOGGED TABLE stock AS
SELECT row_number() OVER (ORDER BY b.account_id, n) AS id, b.account_id, b.id AS mailbox_id, n AS uid, n + 1 AS modseq
FROM mailbox b, generate_series(1, {messages}) AS n WHERE b.role = 'inbox'
"""

# One message of about 2 KB each, with the columns as wide as those of a real one.
FILL = (
    """
    INSERT INTO message (account_id, id, thread_id, blob_key, size, received_at, sent_at, created_modseq,
        has_attachment, message_id, subject, base_subject, preview, envelope, body_structure, body, structure, listing,
        headers)
    SELECT account_id, id, id, sha256(id::text::bytea), 2000, now() - make_interval(mins => uid), now(), modseq, false,
        id || '@stock', 'n ' || id, 'n ' || id, repeat('The quick brown fox. ', 10), decode(repeat(md5(id::text), 10),
        'hex'), decode(repeat('ab', 80), 'hex'), decode(repeat('ab', 60), 'hex'), decode(repeat('ab', 120), 'hex'),
        decode(repeat(md5(id::text), 15), 'hex'), decode(repeat('ab', 160), 'hex') FROM stock
    """,
    """
    INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
    SELECT account_id, id, 'some one <a@example.net>', 'b <b@example.org>', '', '', 'n ' || id,
        'from:some one <a@example.net>', repeat('the quick brown fox. ', 20) FROM stock
    """,
    "INSERT INTO blob (key, size, state, encoding, inline) "
    "SELECT sha256(id::text::bytea), 2000, 1, 0, decode(repeat(md5(id::text), 12), 'hex') FROM stock",
    "INSERT INTO blob_ref (blob_key, kind, account_id, ref_id) "
    "SELECT sha256(id::text::bytea), 1, account_id, id FROM stock",
    "INSERT INTO mailbox_message (account_id, mailbox_id, uid, message_id, modseq, size, flags) "
    "SELECT account_id, mailbox_id, uid, id, modseq, 2000, 0 FROM stock",
    "INSERT INTO thread_key (account_id, key, thread_id) "
    "SELECT account_id, uuid_send(md5(id::text)::uuid), id FROM stock",
    "INSERT INTO delivery_seen (account_id, key, message_id) "
    "SELECT account_id, 'i'::bytea || uuid_send(md5(id::text)::uuid), id FROM stock",
    "INSERT INTO change_log (account_id, kind, modseq, object_id, op) "
    "SELECT account_id, kind, modseq, id, 1 FROM stock, unnest(ARRAY[2, 3]) AS kind",
    "UPDATE mailbox SET uidnext = {messages} + 1, total = {messages}, unseen = {messages}, size = 2000 * {messages}, "
    "modseq = {messages} + 1 WHERE role = 'inbox'",
    "UPDATE account_counter SET modseq = {messages} + 1, used_bytes = 2000 * {messages}, used_messages = {messages}",
    "SELECT setval('message_id', greatest(max(id), 1)) FROM stock",
    "DROP TABLE stock",
    "VACUUM (ANALYZE)",
    "CHECKPOINT",
)


@dataclass(frozen=True, slots=True)
class Stock:
    """One filled database and the Storage over it."""

    dsn: str
    storage: Storage
    accounts: list[AccountId]

    async def inbox(self, account: AccountId) -> MailboxId:
        """The inbox of an account."""
        return next(box.id for box in await self.storage.mail.mailboxes(account) if box.role == "inbox")


@asynccontextmanager
async def stocked(server: str, accounts: int, messages: int) -> AsyncIterator[Stock]:
    """A database of its own on the server of this superuser's DSN: so many accounts, so many messages in each inbox."""
    name = f"bench_{accounts}_{messages}_{time.time_ns()}"
    await _run(server, f"CREATE DATABASE {name}")
    dsn = urlsplit(server)._replace(path=f"/{name}").geturl()
    try:
        await migrate(dsn)
        numbers = await _fill(dsn, accounts, messages)
        storage = await Storage.open(StorageSettings(dsn=dsn, blobs=None))
        try:
            yield Stock(dsn, storage, numbers)
        finally:
            await storage.close()
    finally:
        await _run(server, f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


async def _run(dsn: str, statement: str) -> None:
    connection = await asyncpg.connect(dsn)
    await connection.execute(statement)
    await connection.close()


async def _fill(dsn: str, accounts: int, messages: int) -> list[AccountId]:
    connection = await asyncpg.connect(dsn, server_settings={"synchronous_commit": "off"})
    await connection.execute("INSERT INTO domain (name) VALUES ('example.org')")
    made = [(row["id"], row["address"]) for row in await connection.fetch(ACCOUNTS, accounts)]
    for first in range(0, accounts, 10_000):
        await create_in(connection, made[first : first + 10_000])
    await connection.execute(PLACES.format(messages=messages))
    for statement in FILL:
        await connection.execute(statement.format(messages=messages))
    await connection.close()
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
