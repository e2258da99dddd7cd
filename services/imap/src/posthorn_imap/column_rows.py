"""FETCH of what columns of the store answer: a row is written down, with nothing in between.

While one batch is written the next one is read. The first is small, so that the client hears something at once; the
others are as large as a bounded number of octets allows, judged by the one before.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterable, Sequence
from contextlib import aclosing
from typing import TYPE_CHECKING, Any, TypeVar

from posthorn_imap.body_sections import kept_fields, stored_is_enough
from posthorn_imap.protocol.fetch_items import FetchItem, Item, Section
from posthorn_imap.selection import Selection
from posthorn_imap.stored_items import COLUMNS, WRITTEN
from posthorn_storage.mail import Column

if TYPE_CHECKING:
    from posthorn_imap.session import Session

FIRST, LEAST, MOST = 64, 16, 1024
"""Messages in a batch."""
OCTETS = 1 << 20
"""Of a batch, as far as can be told from the one before."""

Numbered = tuple[int, int]
Row = Any
"""UID, and the columns asked for."""
Writer = Callable[[Row], bytes]
Each = TypeVar("Each")


def columns_of(items: Iterable[FetchItem]) -> tuple[Column, ...] | None:
    """The columns that answer all items beside what is in memory; None when something else is needed."""
    found: dict[Column, None] = {}
    for item in items:
        if isinstance(item, Item):
            if item in COLUMNS:
                found[COLUMNS[item]] = None
        elif isinstance(item, Section) and stored_is_enough(item):
            found[Column.HEADERS] = None
        else:
            return None
    return tuple(found)


def as_asked(rows: list[Each], asked: Sequence[Numbered]) -> list[Each]:
    """Rows come by ascending UID; turned around where messages are told of from the highest down (RFC 9738 3.1)."""
    return rows[::-1] if len(asked) > 1 and asked[0] > asked[-1] else rows


async def send_columns(
    session: "Session",
    selection: Selection,
    items: Sequence[FetchItem],
    columns: tuple[Column, ...],
    chosen: Sequence[Numbered],
    known: Callable[[Item, int], bytes],
) -> list[Numbered]:
    """Write the responses; returns those messages that must be read otherwise. `known`: what is in memory of a UID."""
    writers = [_writer(item, columns, known) for item in items]
    headers = columns.index(Column.HEADERS) + 1 if Column.HEADERS in columns else 0
    numbers = {uid: number for number, uid in chosen}
    written: set[int] = set()
    async with aclosing(_batches(session, selection, columns, chosen)) as batches:
        async for rows in batches:
            lines = []
            for row in rows:
                if headers and not row[headers]:
                    continue  # too long to be kept
                uid = row[0]
                written.add(uid)
                head = selection.fetched(numbers[uid], uid)
                lines.append(b"%s%s)\r\n" % (head, b" ".join([write(row) for write in writers])))
            if Item.FLAGS in items:
                selection.view.told([row[0] for row in rows])
            session.write(b"".join(lines))
            await session.connection.flow()
    return [pair for pair in chosen if pair[1] not in written] if len(written) < len(chosen) else []


def _writer(item: FetchItem, columns: Sequence[Column], known: Callable[[Item, int], bytes]) -> Writer:
    """What writes an item, with its name, of a row."""
    if isinstance(item, Section):
        at, fields = columns.index(Column.HEADERS) + 1, kept_fields(item)
        return lambda row: fields(row[at])
    assert isinstance(item, Item)
    if item not in COLUMNS:
        return lambda row: known(item, row[0])
    place, name, value = columns.index(COLUMNS[item]) + 1, item.value + b" ", WRITTEN[item]
    return lambda row: name + value(row[place])


async def _batches(
    session: "Session", selection: Selection, columns: tuple[Column, ...], chosen: Sequence[Numbered]
) -> AsyncGenerator[Sequence[Row], None]:
    """The rows of the messages, a batch at a time; one more is being read meanwhile."""
    place, mail = selection.feed.place, session.parts.storage.mail

    async def read(batch: Sequence[Numbered]) -> Sequence[Row]:
        uids = [uid for _, uid in batch]
        return as_asked(await mail.columns_by_uid(place.account, place.mailbox, uids, columns), batch)

    if not chosen:
        return
    rows, at, reading = await read(chosen[:FIRST]), FIRST, None
    try:
        while at < len(chosen):
            count = _size_after(rows)
            reading = asyncio.create_task(read(chosen[at : at + count]))
            at += count
            yield rows
            rows = await reading
        yield rows
    finally:
        if reading is not None:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)


def _size_after(rows: Sequence[Row]) -> int:
    """How many messages the next batch has."""
    octets = sum(len(value) for row in rows for value in row if isinstance(value, bytes | str))
    return max(LEAST, min(MOST, OCTETS * len(rows) // octets)) if octets else MOST
