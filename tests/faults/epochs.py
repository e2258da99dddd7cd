"""Who took which lease when, and who wrote under it: a log that triggers of the test's own keep in the database.

What is logged is in the order in which it counted: a taker waits for the rows that a writer under the old epoch holds,
so the numbers of the log tell which of them came first. Every instance has an address of its own, which the database
sees, so that the log does not have to believe what a writer says about itself.
"""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import asyncpg

INSTALL = """
CREATE TABLE epoch_log (
    seq bigserial PRIMARY KEY, kind text NOT NULL, key text NOT NULL, epoch bigint NOT NULL,
    row_epoch bigint NOT NULL, client text NOT NULL, early boolean NOT NULL);
GRANT ALL ON epoch_log, epoch_log_seq_seq TO PUBLIC;

CREATE FUNCTION log_taken() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO epoch_log (kind, key, epoch, row_epoch, client, early)
    VALUES ('taken', NEW.key, NEW.epoch, NEW.epoch, host(inet_client_addr()),
            TG_OP = 'UPDATE' AND OLD.until > now() AND OLD.owner <> NEW.owner);
    RETURN NULL;
END $$;
CREATE FUNCTION log_kept() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO epoch_log (kind, key, epoch, row_epoch, client, early)
    VALUES ('kept', NEW.key, NEW.epoch, NEW.epoch, host(inet_client_addr()), false);
    RETURN NULL;
END $$;
CREATE FUNCTION log_wrote() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    INSERT INTO epoch_log (kind, key, epoch, row_epoch, client, early)
    SELECT 'wrote', key, epoch, NEW.epoch, host(inet_client_addr()), false
    FROM lease WHERE key = 'queue/' || NEW.shard;
    RETURN NULL;
END $$;
CREATE TRIGGER log_first AFTER INSERT ON lease FOR EACH ROW EXECUTE FUNCTION log_taken();
CREATE TRIGGER log_taken AFTER UPDATE ON lease FOR EACH ROW WHEN (NEW.epoch <> OLD.epoch) EXECUTE FUNCTION log_taken();
CREATE TRIGGER log_kept AFTER UPDATE ON lease FOR EACH ROW WHEN (NEW.epoch = OLD.epoch) EXECUTE FUNCTION log_kept();
CREATE TRIGGER log_wrote AFTER UPDATE ON queue_recipient FOR EACH ROW
    WHEN (NEW.state <> OLD.state OR NEW.attempt <> OLD.attempt) EXECUTE FUNCTION log_wrote();
"""

READ = """
SELECT kind, key, epoch, row_epoch, client, early FROM epoch_log
WHERE starts_with(key, 'queue/') OR starts_with(key, 'role/') ORDER BY seq
"""


@dataclass(frozen=True, slots=True)
class Line:
    """`kind` is "taken", "kept" (renewed or given back) or "wrote"."""

    kind: str
    key: str
    epoch: int
    """The lease's at that moment."""
    row_epoch: int
    """What the writer wrote into its row."""
    client: str
    """The address the database saw."""
    early: bool = False
    """Taken although the lease of another had not run out."""


def install(superuser: str) -> None:
    """Make the triggers. The database's own schema stays as it is otherwise."""
    asyncio.run(_run(superuser, INSTALL))


def read(superuser: str) -> list[Line]:
    """The log of queue shards and roles, in its order."""
    return [Line(**dict(row)) for row in asyncio.run(_run(superuser, READ))]


def judge(lines: Sequence[Line]) -> list[str]:
    """What is wrong, in words; empty when every key had exactly one owner whose writes counted, at any time."""
    wrong = []
    held: dict[str, tuple[int, str]] = {}
    for number, line in enumerate(lines, 1):
        epoch, owner = held.get(line.key, (0, ""))
        told = f"line {number}: {line.kind} {line.key} under epoch {line.epoch} by {line.client}"
        if line.kind == "taken":
            if line.early:
                wrong.append(f"{told}: the lease of {owner} had not run out")
            if line.epoch != epoch + 1:
                wrong.append(f"{told}: the epoch before was {epoch}")
            held[line.key] = (line.epoch, line.client)
        elif (line.epoch, line.client) != (epoch, owner):
            wrong.append(f"{told}: {owner or 'nobody'} holds it under epoch {epoch}")
        elif line.row_epoch != epoch:
            wrong.append(f"{told}: the row says epoch {line.row_epoch}")
    return wrong


async def _run(dsn: str, statement: str) -> list[asyncpg.Record]:
    connection = await asyncpg.connect(dsn)
    try:
        if statement is INSTALL:
            await connection.execute(statement)
            return []
        return list(await connection.fetch(statement))
    finally:
        await connection.close()
