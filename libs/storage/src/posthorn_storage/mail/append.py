"""Storing new messages: one plan made in memory under the accounts' locks, then one statement for all rows.

What can fail is found while planning (mailbox, quota), item by item, before anything is written: an item that cannot
be stored takes nothing from its neighbours in the batch.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from posthorn_model.errors import PosthornError, Unavailable
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId, MailboxId, MessageId, Modseq, ThreadId, Uid
from posthorn_model.mail import Appended, NewMessage, PreparedBlob
from posthorn_storage.blobs.attach import attach
from posthorn_storage.database import Connection, Row
from posthorn_storage.mail import append_sql, seen, threads
from posthorn_storage.mail.append_columns import (
    blob_columns,
    key_columns,
    message_columns,
    place_columns,
    seen_columns,
)
from posthorn_storage.mail.journal import Journal, Units
from posthorn_storage.mail.planned import Keys, Planned, keys_of

_APPENDED = frozenset({ChangeKind.EMAIL, ChangeKind.THREAD})
_DELIVERED = _APPENDED | {ChangeKind.EMAIL_DELIVERY}


@dataclass(slots=True)
class Batch:
    """Messages being stored by one unit of work: prepare, admit each item, write, then ask for results."""

    journal: Journal
    window: float
    """Seconds within which equal content counts as a client's repeat."""
    forgotten: Mapping[seen.Key, MessageId]
    """Digests of deliveries whose replies arrived: no repeat of theirs is suppressed."""
    _keys: dict[int, Keys] = field(default_factory=dict)
    """By the identity of the message, which the caller holds."""
    _known: dict[seen.Key, Planned | MessageId] = field(default_factory=dict)
    _remembered: set[seen.Key] = field(default_factory=set)
    """Keys of deliveries that are stored already, whether or not they count."""
    _threads: dict[threads.Key, ThreadId] = field(default_factory=dict)
    _threaded: set[threads.Key] = field(default_factory=set)
    """Keys of threads that are stored already."""
    _planned: list[Planned] = field(default_factory=list)

    async def prepare(self, messages: Sequence[NewMessage]) -> None:
        """Read what planning needs, for accounts that the journal has locked."""
        keys = keys_of(messages)
        self._take_in(await _read(self.journal.connection, self.journal.counters, messages, keys, self.window), keys)

    def _take_in(self, rows: Iterable[Row], keys: Mapping[int, Keys]) -> None:
        self._keys.update(keys)
        journal = self.journal
        for row in rows:
            what = row["what"]
            if what == append_sql.LOCKED:
                if row["inbox"] is not None:
                    journal.take_in(row["account_id"], *row[-3:], is_inbox=True)
            elif what == append_sql.MAILBOX:
                journal.take_in(*row[:4], is_inbox=False)
            elif what == append_sql.SEEN:
                key = (row["account_id"], row["key"])
                self._remembered.add(key)
                if row["read_at"] and self.forgotten.get(key) != row[1]:
                    self._known[key] = row[1]
            elif what == append_sql.THREAD:
                key = (row["account_id"], row["key"])
                self._threaded.add(key)
                self._threads[key] = row[1]

    def admit(self, messages: Sequence[NewMessage]) -> list[Planned]:
        """Take in one item: all of its messages, or none, and then the first problem is raised.

        Raises AccountNotFound, MailboxNotFound, OverQuota.
        """
        item: list[Planned] = []
        try:
            for message in messages:
                item.append(self._plan(message))
        except PosthornError:
            for planned in item:
                if planned.repeats is None:
                    self.journal.counters[planned.account].charge(-planned.new.summary.size, -1)
                    for key in planned.keys.seen:
                        del self._known[key]
            raise
        self._planned += [planned for planned in item if planned.repeats is None]
        return item

    def _plan(self, message: NewMessage) -> Planned:
        """Charge one message and claim its keys, unless it repeats another one."""
        counter = self.journal.counters.get(message.account)
        if counter is None:
            raise self.journal.absent(message.account)
        if message.mailboxes:
            places = [self.journal.place(message.account, mailbox) for mailbox in dict.fromkeys(message.mailboxes)]
        else:
            places = [self.journal.inbox(message.account)]
        keys = self._keys[id(message)]
        for key in keys.seen:
            if (known := self._known.get(key)) is not None:
                return Planned(message, places, keys, known)
        counter.charge(message.summary.size, 1)
        planned = Planned(message, places, keys)
        for key in keys.seen:
            self._known[key] = planned
        return planned

    async def write(self, others: Sequence[PreparedBlob] = ()) -> None:
        """Store every admitted message, and flush the journal. `others` are blobs that the transaction will refer to.

        All are attached at once: blob rows are locked in key order, so attaching twice could wait in a circle.
        """
        planned = self._planned
        if not planned:
            return
        connection = self.journal.connection
        for one, number in zip(planned, await self.journal.ids.take(connection, len(planned)), strict=True):
            one.id = number
        await self._join_threads()
        self._number()
        blobs = {blob.key: blob for blob in (*(one.new.blob for one in planned), *others)}
        columns = [
            *message_columns(planned, self._remembered),
            *place_columns(planned),
            *seen_columns(planned, self._remembered),
            *key_columns(planned, self._threaded),
            *blob_columns(list(blobs.values())),
            *self.journal.columns(),
        ]
        if not await connection.fetchval(append_sql.WRITE, *columns):
            await attach(connection, list(blobs.values()))
            if not await connection.fetchval(append_sql.WRITE, *columns):
                raise Unavailable(step="attach")

    async def _join_threads(self) -> None:
        """Give each message its thread, merging threads that it ties together."""
        known = self._threads
        fresh: set[ThreadId] = set()
        for one in self._planned:
            tied = {known[key] for key in one.keys.thread if key in known}
            if tied:
                # A stored thread wins over one that this batch opens: only its messages would have to change their ids.
                one.thread = min(tied - fresh or tied)
                if len(tied) > 1:
                    gone = await self._merge(one, tied - {one.thread}, fresh)
                    known.update({key: one.thread for key, thread in known.items() if thread in gone})
            else:
                one.thread = ThreadId(one.id)
                fresh.add(one.thread)
            for key in one.keys.thread:
                known[key] = one.thread

    async def _merge(self, one: Planned, others: set[ThreadId], fresh: set[ThreadId]) -> set[ThreadId]:
        """Merge `others` into the thread of `one`; returns those that are gone."""
        gone = others & fresh
        stored = sorted(others - fresh)
        if stored and await threads.merge(self.journal, one.account, stored, one.thread):
            gone |= set(stored)
        for planned in self._planned:
            if planned.thread in gone:
                planned.thread = one.thread
        fresh -= gone
        return gone

    def _number(self) -> None:
        """Hand out modseqs and UIDs in the order of the batch, and count what appears."""
        for one in self._planned:
            new = one.new
            counter = self.journal.counters[new.account]
            one.modseq = Modseq(counter.take())
            one.uids = [Uid(place.take_uid()) for place in one.places]
            for place in one.places:
                place.count(int(new.flags.system), new.summary.size, 1)
            counter.kinds |= _DELIVERED if new.delivered else _APPENDED

    async def _read_earlier(self, items: Sequence[Planned]) -> dict[tuple[AccountId, MessageId], Appended]:
        """Where the messages of earlier deliveries are now, for those repeated in this batch."""
        wanted = list({(one.account, one.repeats) for one in items if isinstance(one.repeats, int)})
        if not wanted:
            return {}
        found: dict[tuple[AccountId, MessageId], Appended] = {}
        rows = await self.journal.connection.fetch(
            append_sql.EARLIER, [pair[0] for pair in wanted], [pair[1] for pair in wanted]
        )
        for row in rows:
            key = (row["account_id"], row["id"])
            before = found[key].uids if key in found else ()
            uids = (*before, (row["mailbox_id"], row["uidvalidity"], row["uid"]))
            modseq = Modseq(self.journal.counters[row["account_id"]].modseq)
            found[key] = Appended(row["account_id"], row["id"], row["thread_id"], modseq, uids, duplicate=True)
        return found

    async def results(self, items: Sequence[Planned]) -> list[Appended]:
        """Where each message of `items` ended up; call it after `write`, in the same unit of work.

        A repeated message that was destroyed since has no UIDs and thread 0.
        """
        earlier = await self._read_earlier(items)
        found = []
        for one in items:
            if one.repeats is None:
                found.append(_appended(one, duplicate=False))
            elif isinstance(one.repeats, Planned):
                found.append(_appended(one.repeats, duplicate=True))
            else:
                modseq = Modseq(self.journal.counters[one.account].modseq)
                gone = Appended(one.account, one.repeats, ThreadId(0), modseq, (), duplicate=True)
                found.append(earlier.get((one.account, one.repeats), gone))
        return found


def _appended(one: Planned, *, duplicate: bool) -> Appended:
    uids = [(MailboxId(place.id), place.uidvalidity, uid) for place, uid in zip(one.places, one.uids, strict=True)]
    return Appended(one.account, one.id, one.thread, one.modseq, tuple(uids), duplicate)


async def open_batch(
    units: Units,
    connection: Connection,
    messages: Sequence[NewMessage],
    *,
    window: float,
    forgotten: Mapping[seen.Key, MessageId],
    tolerant: bool = False,
) -> Batch:
    """Lock the accounts of `messages` and read what planning needs: in one statement, where nobody else is at them.

    Raises as `Units.begin` does.
    """
    accounts = sorted({message.account for message in messages})
    keys = keys_of(messages)
    rows = await _read(connection, accounts, messages, keys, window)
    locked = [row for row in rows if row["what"] == append_sql.LOCKED]
    if any(row["read_at"] != row["modseq"] for row in locked):
        rows = await _read(connection, accounts, messages, keys, window)
        locked = [row for row in rows if row["what"] == append_sql.LOCKED]
    batch = Batch(units.journal(connection, locked, accounts, tolerant=tolerant), window, forgotten)
    batch._take_in(rows, keys)
    return batch


async def _read(
    connection: Connection,
    accounts: Iterable[AccountId],
    messages: Sequence[NewMessage],
    keys: Mapping[int, Keys],
    window: float,
) -> list[Row]:
    boxes = list({(message.account, mailbox) for message in messages for mailbox in message.mailboxes})
    known = list({key for own in keys.values() for key in own.seen})
    named = list({key for own in keys.values() for key in own.thread})
    rows: list[Row] = await connection.fetch(
        append_sql.READ,
        list(accounts),
        [account for account, _ in boxes],
        [mailbox for _, mailbox in boxes],
        [account for account, _ in known],
        [key for _, key in known],
        window,
        [account for account, _ in named],
        [key for _, key in named],
    )
    return rows


async def append_in(
    units: Units, connection: Connection, messages: Sequence[NewMessage], *, window: float
) -> tuple[list[Appended], Journal]:
    """Store all of `messages` or, raising the first problem, none. Raises MailboxNotFound, OverQuota, Unavailable."""
    batch = await open_batch(units, connection, messages, window=window, forgotten={})
    items = batch.admit(messages)
    await batch.write()
    return await batch.results(items), batch.journal
