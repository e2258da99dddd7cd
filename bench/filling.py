"""Filling a database with mail in bounded time: tables side by side, some hundred thousand rows at once, then indexes.

Messages come in the order in which mail arrives (the first of every account, the second of every account ...), so that
those of one account lie far from each other, as they do in a database that has been written for years.
"""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass

import asyncpg

Tell = Callable[[str], None]
ROWS = 400_000
"""Of one statement."""
SIDE_BY_SIDE = 3
"""Tables that are filled at once."""


@dataclass(frozen=True, slots=True)
class Shape:
    """How many messages each inbox has, and what is stored of them."""

    messages: int
    widths: int = 10
    """How wide stored values are: 10 for those of a real message of about 2 KB, 1 for the shortest."""
    logged: int | None = None
    """The newest messages of each account that the change log and the list of repeats know; None: all of them.

    Both are purged by age, so that in an old account they tell of its newest messages alone.
    """

    @property
    def first_logged(self) -> int:
        """The first UID that the change log knows."""
        return 1 if self.logged is None else max(1, self.messages - self.logged + 1)


INBOXES = """
CREATE UNLOGGED TABLE inboxes AS
SELECT account_id, id AS mailbox_id, row_number() OVER (ORDER BY account_id) AS place FROM mailbox WHERE role = 'inbox'
"""

# UIDs from $1 to $2 of all inboxes.
STOCK = """(
    SELECT (n - 1) * (SELECT count(*) FROM inboxes) + place AS id, account_id, mailbox_id, n AS uid, n + 1 AS modseq
    FROM inboxes, generate_series($1::bigint, $2::bigint) AS n ORDER BY id OFFSET 0) AS stock"""

# What a table is filled with. {w} is Shape.widths.
TABLES = {
    "message": """(account_id, id, thread_id, blob_key, size, received_at, sent_at, created_modseq, has_attachment,
        message_id, subject, base_subject, preview, envelope, body_structure, body, structure, listing, headers)
    SELECT account_id, id, id, sha256(id::text::bytea), 2000, now() - make_interval(mins => uid::int), now(), modseq,
        false, id || '@stock', 'n ' || id, 'n ' || id, repeat('The quick brown fox. ', {w}),
        decode(repeat('ab', 16 * {w}), 'hex'), decode(repeat('ab', 8 * {w}), 'hex'),
        decode(repeat('ab', 6 * {w}), 'hex'), decode(repeat('ab', 12 * {w}), 'hex'),
        decode(repeat('ab', 24 * {w}), 'hex'), decode(repeat('ab', 16 * {w}), 'hex')""",
    "message_text": """(account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
    SELECT account_id, id, 'some one <a@example.net>', 'b <b@example.org>', '', '', 'n ' || id,
        'from:some one <a@example.net>', repeat('the quick brown fox. ', 2 * {w})""",
    "blob": """(key, size, state, encoding, inline)
    SELECT sha256(id::text::bytea), 2000, 1, 0, decode(repeat('ab', 19 * {w}), 'hex')""",
    "blob_ref": """(blob_key, kind, account_id, ref_id)
    SELECT sha256(id::text::bytea), 1, account_id, id""",
    "mailbox_message": """(account_id, mailbox_id, uid, message_id, modseq, size, flags)
    SELECT account_id, mailbox_id, uid, id, modseq, 2000, 0""",
    "thread_key": """(account_id, key, thread_id)
    SELECT account_id, uuid_send(md5(id::text)::uuid), id""",
    "delivery_seen": """(account_id, key, message_id)
    SELECT account_id, 'i'::bytea || uuid_send(md5(id::text)::uuid), id""",
    "change_log": """(account_id, kind, modseq, object_id, op)
    SELECT account_id, kind, modseq, id, 1""",
}
PASSING = ("delivery_seen", "change_log")
"""Tables that know of the newest messages alone."""

COUNTS = (
    "UPDATE mailbox SET uidnext = {messages} + 1, total = {messages}, unseen = {messages}, size = 2000 * {messages}, "
    "modseq = {messages} + 1 WHERE role = 'inbox'",
    "UPDATE account_counter SET modseq = {messages} + 1, horizon = {first_logged}, used_bytes = 2000 * {messages}, "
    "used_messages = {messages}",
    "SELECT setval('message_id', greatest({messages} * (SELECT count(*) FROM inboxes), 1))",
)

# Keys of a table (its primary key too) come as constraints, other indexes as they are.
CONSTRAINTS = """
SELECT conrelid::regclass::text AS "table", conname AS name, pg_get_constraintdef(oid) AS definition
FROM pg_constraint WHERE contype::text = ANY ($2::text[]) AND conrelid = ANY ($1::text[]::regclass[])
ORDER BY conname
"""
INDEXES = """
SELECT indexname AS name, indexdef AS definition FROM pg_indexes
WHERE schemaname = 'public' AND tablename = $1 ORDER BY indexname
"""

# No triggers run: nothing is to be indexed for search.
SESSION = {
    "synchronous_commit": "off",
    "session_replication_role": "replica",
    "maintenance_work_mem": "512MB",
    "work_mem": "256MB",
}


async def fill(dsn: str, shape: Shape, tell: Tell) -> None:
    """Put messages in the inbox of every account."""
    connection = await asyncpg.connect(dsn, server_settings=SESSION)
    await connection.execute(INBOXES)
    foreign = await connection.fetch(CONSTRAINTS, list(TABLES), ["f"])
    for row in foreign:
        await connection.execute(f"ALTER TABLE {row['table']} DROP CONSTRAINT {row['name']}")
    places = asyncio.Semaphore(SIDE_BY_SIDE)

    async def fill_one(table: str) -> None:
        async with places:
            alone = await asyncpg.connect(dsn, server_settings=SESSION)
            async with _without_indexes(alone, table, tell):
                await _fill_table(alone, table, shape, tell)
            await alone.execute(f"VACUUM (ANALYZE) {table}")
            await alone.close()

    await asyncio.gather(*map(fill_one, TABLES))
    for row in foreign:
        await connection.execute(_again(row), timeout=3600)
    for statement in COUNTS:
        await connection.execute(statement.format(messages=shape.messages, first_logged=shape.first_logged))
    await connection.execute("DROP TABLE inboxes")
    await connection.execute("VACUUM (ANALYZE)")
    await connection.execute("CHECKPOINT")
    await connection.close()


async def _fill_table(connection: asyncpg.Connection, table: str, shape: Shape, tell: Tell) -> None:
    source = STOCK + (", unnest(ARRAY[2, 3]) AS kind" if table == "change_log" else "")
    statement = f"INSERT INTO {table} {TABLES[table].format(w=shape.widths)} FROM {source}"
    step = max(1, ROWS // max(1, await connection.fetchval("SELECT count(*) FROM inboxes")))
    begun = time.monotonic()
    async with connection.transaction():
        # What is written to a table in the transaction that made its file is not logged at the least wal_level.
        await connection.execute(f"TRUNCATE {table}")
        for first in range(shape.first_logged if table in PASSING else 1, shape.messages + 1, step):
            last = min(first + step - 1, shape.messages)
            await connection.execute(statement, first, last, timeout=3600)
            tell(f"{table}: {last:,} of {shape.messages:,} in each inbox, {time.monotonic() - begun:.0f} s")


@asynccontextmanager
async def _without_indexes(connection: asyncpg.Connection, table: str, tell: Tell) -> AsyncIterator[None]:
    """Take the indexes of a table away, and make them again at the end of the block."""
    keys = await connection.fetch(CONSTRAINTS, [table], ["p", "u"])
    for row in keys:
        await connection.execute(f"ALTER TABLE {table} DROP CONSTRAINT {row['name']}")
    indexes = await connection.fetch(INDEXES, table)
    for row in indexes:
        await connection.execute(f"DROP INDEX {row['name']}")
    yield
    statements = [(row["name"], _again(row)) for row in keys] + [(row["name"], row["definition"]) for row in indexes]
    for name, statement in statements:
        begun = time.monotonic()
        await connection.execute(statement, timeout=3600)
        tell(f"{name}: {time.monotonic() - begun:.0f} s")


def _again(row: asyncpg.Record) -> str:
    return f"ALTER TABLE {row['table']} ADD CONSTRAINT {row['name']} {row['definition']}"
