"""Copying rows from one database to another, as a stream, and comparing what is in both."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import Any

from posthorn_storage.database import Connection
from posthorn_storage.shards.moving.contents import COMPARED

_CHUNKS = 16
"""Chunks of the stream that may be in memory between the two databases."""

COLUMNS = """
SELECT attname FROM pg_attribute
WHERE attrelid = to_regclass($1) AND attnum > 0 AND NOT attisdropped AND attgenerated = '' ORDER BY attname
"""

# The sum does not depend on the order of the rows; hashes are 64 bits, so their sum needs more.
DIGESTS = """
SELECT {part} AS part, count(*) AS rows, sum(hashtextextended(ROW({columns})::text, 0)::numeric)::text AS digest
FROM "{table}" WHERE account_id = $1 AND {where} GROUP BY part
"""
BY_KEY = "hashtext(encode(key, 'hex')) & 4095"
"""So many parts that a few rows that changed lie among few others; a key never leaves its part."""


async def columns_of(source: Connection, target: Connection, table: str) -> list[str]:
    """The columns that the table has in both databases, which may be a migration apart."""
    here = await source.fetch(COLUMNS, f'"{table}"')
    there = {row["attname"] for row in await target.fetch(COLUMNS, f'"{table}"')}
    return [row["attname"] for row in here if row["attname"] in there]


async def copy_rows(
    source: Connection, target: Connection, table: str, where: str, *arguments: Any, columns: Sequence[str]
) -> int:
    """Copy the rows of `table` for which `where` (with $1... for `arguments`) holds; returns how many there were."""
    chunks: asyncio.Queue[bytes | None] = asyncio.Queue(_CHUNKS)
    names = ", ".join(f'"{name}"' for name in columns)

    async def read() -> None:
        query = f'SELECT {names} FROM "{table}" WHERE {where}'  # noqa: S608
        await source.copy_from_query(query, *arguments, output=chunks.put, format="binary")
        await chunks.put(None)

    async def stream() -> AsyncIterator[bytes]:
        while (chunk := await chunks.get()) is not None:
            yield chunk

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read())
        tag = await target.copy_to_table(table, source=stream(), columns=list(columns), format="binary")
        await reading
    return int(tag.rpartition(" ")[2])


async def digests(
    connection: Connection, account: int, table: str, where: str, *arguments: Any, part: str = "0"
) -> dict[int, tuple[int, str]]:
    """Of the account's rows for which `where` (from $2) holds: how many there are, and a digest of them.

    In whatever order they are. For each `part`, an expression over them, that has any rows.
    """
    columns = COMPARED[table]
    if columns == "*":
        columns = ", ".join(f'"{row[0]}"' for row in await connection.fetch(COLUMNS, f'"{table}"'))
    query = DIGESTS.format(part=part, columns=columns, table=table, where=where)
    rows = await connection.fetch(query, account, *arguments)
    return {row["part"]: (row["rows"], row["digest"]) for row in rows}
