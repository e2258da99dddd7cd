"""GroupwareStore: calendars, address books and folders of files, with their items (RFC 4918, RFC 4791, RFC 6352).

Items share the account's counter, change log and quota with mail (design law 4). Content is never parsed here: the
caller hands over what it found in it (UID, component, bounds of time).
"""

from collections.abc import Collection as Several
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import asyncpg

from posthorn_mail_format.search_texts import clean
from posthorn_model.errors import (
    AlreadyExists,
    CollectionNotFound,
    InvalidName,
    NotFound,
    StateMismatch,
    TooLarge,
    TooMany,
)
from posthorn_model.events import ChangeKind
from posthorn_model.groupware import Collection, CollectionKind, Item
from posthorn_model.ids import AccountId, CollectionId, Modseq
from posthorn_storage.codes import CREATED, DESTROYED, UPDATED
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.groupware import sql
from posthorn_storage.groupware.rows import collection_of, etag_of, item_of, properties_text, segment_of
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import FILE, FOLDER, KIND
from posthorn_storage.mail.view import state
from posthorn_storage.shards import Shards

MAX_CONTENT = 32 * 1024 * 1024
"""Longest content of an item in bytes; services set lower limits of their own."""
MAX_COLLECTIONS = 1000

KINDS: Final = {
    CollectionKind.CALENDAR: (KIND[ChangeKind.CALENDAR], KIND[ChangeKind.CALENDAR_EVENT]),
    CollectionKind.ADDRESS_BOOK: (KIND[ChangeKind.ADDRESS_BOOK], KIND[ChangeKind.CONTACT_CARD]),
    CollectionKind.FILES: (FOLDER, FILE),
}
"""Under which numbers the change log keeps a collection and its items."""


@dataclass(frozen=True, slots=True)
class NewItem:
    """An item to be stored; see posthorn_model.groupware.Item."""

    name: str
    uid: str
    content_type: str
    content: bytes
    component: str = ""
    starts_at: datetime | None = None
    ends_at: datetime | None = None


class GroupwareStore:
    """Collections and items of all accounts. All methods raise Unavailable, Overloaded; changes AccountNotFound."""

    def __init__(self, shards: Shards) -> None:
        self._change = shards.change
        self._reading = shards.reading
        self._read = shards.read

    async def collections(self, account: AccountId, kind: CollectionKind | None = None) -> list[Collection]:
        """The collections of one kind, or all, by name."""
        wanted = None if kind is None else kind.value
        rows = await self._read(account, lambda database: database.fetch(sql.COLLECTIONS, account, wanted))
        return [collection_of(row) for row in rows]

    async def collection(self, account: AccountId, kind: CollectionKind, name: str) -> Collection:
        """One collection by its path. Raises CollectionNotFound."""

        async def work(database: Database) -> Collection:
            row = await database.fetchrow(sql.BY_NAME, account, kind.value, clean(name))
            if row is None:
                raise CollectionNotFound(account=account)
            return collection_of(row)

        return await self._read(account, work)

    async def create_collection(
        self,
        account: AccountId,
        kind: CollectionKind,
        name: str,
        display_name: str = "",
        *,
        description: str = "",
        color: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Collection:
        """Raises AlreadyExists, InvalidName, TooMany, TooLarge (properties)."""
        fields = (clean(display_name), clean(description), color, properties_text(properties or {}))

        async def work(journal: Journal) -> Collection:
            if await journal.connection.fetchval(sql.COUNT, account) >= MAX_COLLECTIONS:
                raise TooMany("too many collections", account=account)
            modseq = journal.counters[account].take()
            row = await _unique(journal.connection, sql.CREATE, account, kind.value, segment_of(name), *fields, modseq)
            journal.log(account, KINDS[kind][0], CREATED, row["id"], modseq)
            return collection_of(row)

        return await self._change(account, work)

    async def update_collection(
        self,
        account: AccountId,
        collection: CollectionId,
        *,
        name: str | None = None,
        display_name: str | None = None,
        description: str | None = None,
        color: str | None = None,
        properties: Mapping[str, str] | None = None,
    ) -> Collection:
        """Change what is given. Raises CollectionNotFound, AlreadyExists (the name), InvalidName, TooLarge."""

        async def work(journal: Journal) -> Collection:
            before = await _locked(journal, account, collection)
            modseq = journal.counters[account].take()
            row = await _unique(
                journal.connection,
                sql.UPDATE,
                account,
                collection,
                before.name if name is None else segment_of(name),
                before.display_name if display_name is None else clean(display_name),
                before.description if description is None else clean(description),
                before.color if color is None else color,
                properties_text(before.properties if properties is None else properties),
                modseq,
            )
            journal.log(account, KINDS[before.kind][0], UPDATED, collection, modseq)
            return collection_of(row)

        return await self._change(account, work)

    async def delete_collection(self, account: AccountId, collection: CollectionId) -> None:
        """Remove a collection with all its items. Raises CollectionNotFound."""

        async def work(journal: Journal) -> None:
            before = await _locked(journal, account, collection)
            rows = await journal.connection.fetch(sql.DELETE_ITEMS, account, collection)
            for row in rows:
                _gone(journal, account, before, row)
            await journal.connection.execute(sql.DELETE, account, collection)
            journal.log(account, KINDS[before.kind][0], DESTROYED, collection, journal.counters[account].take())

        await self._change(account, work)

    async def items(
        self,
        account: AccountId,
        collection: CollectionId,
        *,
        names: Several[str] | None = None,
        since: Modseq | int | None = None,
        component: str | None = None,
        time_range: tuple[datetime | None, datetime | None] | None = None,
        with_content: bool = True,
        limit: int | None = None,
        decides: bool = False,
    ) -> list[Item]:
        """Items by name that pass every given filter; `content` is empty when it is not asked for.

        `time_range` keeps what may have an instance in it, by the bounds over all recurrences. `decides`: something is
        changed or refused by what is found, so that no replica is asked.
        """
        start, end = time_range or (None, None)
        wanted = None if names is None else [clean(name) for name in names]
        arguments = (account, collection, wanted, since or 0, component, start, end, limit)
        statement = sql.items(with_content=with_content)
        if decides:
            rows = await (await self._reading(account)).fetch(statement, *arguments)
        else:
            rows = await self._read(account, lambda database: database.fetch(statement, *arguments))
        return [item_of(row) for row in rows]

    async def put_item(
        self,
        account: AccountId,
        collection: CollectionId,
        item: NewItem,
        *,
        if_match: str | None = None,
        if_none_match: bool = False,
    ) -> Item:
        """Create or replace an item; the same content again changes nothing.

        `if_match`: only over an item with this ETag; `if_none_match`: only where there is none. Raises StateMismatch,
        CollectionNotFound, AlreadyExists (another item of the collection has the UID), TooLarge, OverQuota,
        InvalidName.
        """
        if len(item.content) > MAX_CONTENT:
            raise TooLarge(account=account, size=len(item.content))
        name, etag = segment_of(item.name), etag_of(item.content)

        async def work(journal: Journal) -> Item:
            owner = await _locked(journal, account, collection)
            before = await journal.connection.fetchrow(sql.ITEM, account, collection, name)
            _check(before, if_match, if_none_match=if_none_match)
            if before is not None and _same(before, item, etag):
                return item_of(before)
            counter = journal.counters[account]
            counter.charge(len(item.content) - (0 if before is None else len(before["content"])), 0)
            modseq = counter.take()
            row = await _unique(
                journal.connection,
                sql.PUT,
                account,
                collection,
                name,
                clean(item.uid),
                etag,
                clean(item.content_type),
                clean(item.component),
                item.starts_at,
                item.ends_at,
                modseq,
                item.content,
            )
            journal.log(account, KINDS[owner.kind][1], CREATED if before is None else UPDATED, row["id"], modseq)
            await journal.connection.execute(sql.TOUCH, account, [collection], modseq)
            return item_of(row)

        return await self._change(account, work)

    async def delete_item(
        self, account: AccountId, collection: CollectionId, name: str, if_match: str | None = None
    ) -> None:
        """Raises NotFound, CollectionNotFound, StateMismatch."""

        async def work(journal: Journal) -> None:
            owner = await _locked(journal, account, collection)
            before = await journal.connection.fetchrow(sql.ITEM, account, collection, clean(name))
            if before is None:
                raise NotFound(account=account)
            _check(before, if_match, if_none_match=False)
            await _remove(journal, account, owner, before)

        await self._change(account, work)

    async def move_item(
        self,
        account: AccountId,
        collection: CollectionId,
        name: str,
        target: CollectionId,
        new_name: str,
        *,
        overwrite: bool = False,
    ) -> Item:
        """Move an item to another place of the same kind (RFC 4918 9.9).

        Raises NotFound, CollectionNotFound, AlreadyExists (name or UID), InvalidName (a collection of another kind).
        """

        async def work(journal: Journal) -> Item:
            source, before = await _transfer(journal, account, collection, name, target, new_name, overwrite=overwrite)
            modseq = journal.counters[account].take()
            row = await _unique(
                journal.connection, sql.MOVE, account, collection, clean(name), target, segment_of(new_name), modseq
            )
            journal.log(
                account, KINDS[source.kind][1], UPDATED, row["id"], modseq, container=collection, name=before["name"]
            )
            await journal.connection.execute(sql.TOUCH, account, [collection, target], modseq)
            return item_of(row)

        return await self._change(account, work)

    async def copy_item(
        self,
        account: AccountId,
        collection: CollectionId,
        name: str,
        target: CollectionId,
        new_name: str,
        *,
        overwrite: bool = False,
    ) -> Item:
        """Copy an item to another place of the same kind (RFC 4918 9.8). Raises as `move_item`, and OverQuota."""

        async def work(journal: Journal) -> Item:
            source, before = await _transfer(journal, account, collection, name, target, new_name, overwrite=overwrite)
            journal.counters[account].charge(len(before["content"]), 0)
            modseq = journal.counters[account].take()
            row = await _unique(
                journal.connection, sql.COPY, account, collection, clean(name), target, segment_of(new_name), modseq
            )
            journal.log(account, KINDS[source.kind][1], CREATED, row["id"], modseq)
            await journal.connection.execute(sql.TOUCH, account, [target], modseq)
            return item_of(row)

        return await self._change(account, work)

    async def removed(self, account: AccountId, collection: CollectionId, since: Modseq) -> list[str]:
        """Names that were there and are no more since `since` (RFC 6578).

        Raises CollectionNotFound, CannotCalculateChanges.
        """

        async def work(database: Database) -> list[str]:
            async with database.transaction(isolation="repeatable_read", read_only=True) as connection:
                row = await connection.fetchrow(sql.BY_ID, account, collection)
                if row is None:
                    raise CollectionNotFound(account=account, collection=collection)
                await state(connection, account, since, quiet=row["modseq"] <= since)
                rows = await connection.fetch(sql.REMOVED, account, collection, since)
                return [row["name"] for row in rows]

        return await self._read(account, work)


async def _transfer(
    journal: Journal,
    account: AccountId,
    collection: CollectionId,
    name: str,
    target: CollectionId,
    new_name: str,
    *,
    overwrite: bool,
) -> tuple[Collection, Row]:
    """The collection and the item it is in, with the target's place made free."""
    source, goal = await _locked(journal, account, collection), await _locked(journal, account, target)
    if source.kind is not goal.kind:
        raise InvalidName("the target holds another kind of item")
    before = await journal.connection.fetchrow(sql.ITEM, account, collection, clean(name))
    if before is None:
        raise NotFound(account=account)
    there = await journal.connection.fetchrow(sql.ITEM, account, target, segment_of(new_name))
    if there is not None:
        if not overwrite or there["id"] == before["id"]:
            raise AlreadyExists(account=account)
        await _remove(journal, account, goal, there)
    return source, before


async def _remove(journal: Journal, account: AccountId, owner: Collection, row: Row) -> None:
    await journal.connection.execute(sql.DELETE_ITEM, account, owner.id, row["name"])
    modseq = _gone(journal, account, owner, row)
    await journal.connection.execute(sql.TOUCH, account, [owner.id], modseq)


def _gone(journal: Journal, account: AccountId, owner: Collection, row: Row) -> int:
    counter = journal.counters[account]
    counter.charge(-len(row["content"]), 0)
    modseq = counter.take()
    journal.log(account, KINDS[owner.kind][1], DESTROYED, row["id"], modseq, container=owner.id, name=row["name"])
    return modseq


async def _locked(journal: Journal, account: AccountId, collection: CollectionId) -> Collection:
    row = await journal.connection.fetchrow(sql.BY_ID, account, collection)
    if row is None:
        raise CollectionNotFound(account=account, collection=collection)
    return collection_of(row)


async def _unique(connection: Connection, query: str, *arguments: object) -> Row:
    try:
        return await connection.fetchrow(query, *arguments)
    except asyncpg.UniqueViolationError as error:
        raise AlreadyExists(constraint=error.constraint_name) from error


def _check(before: Row | None, if_match: str | None, *, if_none_match: bool) -> None:
    if if_none_match and before is not None:
        raise StateMismatch
    if if_match is not None and (before is None or before["etag"] != if_match):
        raise StateMismatch


def _same(before: Row, item: NewItem, etag: str) -> bool:
    names = ("etag", "uid", "content_type", "component", "starts_at", "ends_at")
    given = (etag, item.uid, item.content_type, item.component, item.starts_at, item.ends_at)
    return tuple(before[name] for name in names) == given
