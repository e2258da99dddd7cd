"""FETCH items that are a column of the store, written down as they were computed when the message came."""

from collections.abc import Callable, Mapping
from typing import Any

from posthorn_imap.protocol.dates import write_date_time
from posthorn_imap.protocol.fetch_items import Item
from posthorn_imap.protocol.responses import string
from posthorn_storage.mail import Column, PlacedMessage

COLUMNS: Mapping[Item, Column] = {
    Item.INTERNALDATE: Column.RECEIVED_AT,
    Item.SAVEDATE: Column.SAVED_AT,
    Item.SIZE: Column.SIZE,
    Item.ENVELOPE: Column.ENVELOPE,
    Item.BODY: Column.BODY,
    Item.BODYSTRUCTURE: Column.BODY_STRUCTURE,
    Item.EMAILID: Column.MESSAGE,
    Item.THREADID: Column.THREAD,
    Item.PREVIEW: Column.PREVIEW,
}


def _date(value: Any) -> bytes:
    return b"NIL" if value is None else write_date_time(value)


def _made(value: Any) -> bytes:
    found: bytes = value or b"NIL"
    return found


WRITTEN: Mapping[Item, Callable[[Any], bytes]] = {
    Item.INTERNALDATE: _date,
    Item.SAVEDATE: _date,
    Item.SIZE: lambda value: b"%d" % value,
    Item.ENVELOPE: _made,
    Item.BODY: _made,
    Item.BODYSTRUCTURE: _made,
    Item.EMAILID: lambda value: b"(E%d)" % value,
    Item.THREADID: lambda value: b"(T%d)" % value,
    Item.PREVIEW: lambda value: string((value or "").encode()),
}
"""How the value of an item's column is written."""

_VALUE: Mapping[Item, Callable[[PlacedMessage], Any]] = {
    Item.INTERNALDATE: lambda row: row.message.received_at,
    Item.SAVEDATE: lambda row: row.saved_at,
    Item.SIZE: lambda row: row.message.size,
    Item.ENVELOPE: lambda row: row.message.envelope,
    Item.BODY: lambda row: row.message.body,
    Item.BODYSTRUCTURE: lambda row: row.message.body_structure,
    Item.EMAILID: lambda row: row.message.id,
    Item.THREADID: lambda row: row.message.thread,
    Item.PREVIEW: lambda row: row.message.preview,
}


def stored(item: Item, row: PlacedMessage) -> bytes:
    """An item of a message that was read as a whole, with its name."""
    name: bytes = item.value
    return name + b" " + WRITTEN[item](_VALUE[item](row))
