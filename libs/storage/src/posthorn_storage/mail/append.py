"""Storing new messages: one plan made in memory under the accounts' locks, then one statement for all rows.

What can fail is found while planning (mailbox, quota), item by item, before anything is written: an item that cannot
be stored takes nothing from its neighbours in the batch.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from posthorn_model.errors import PosthornError
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId, MailboxId, MessageId, Modseq, ThreadId, Uid
from posthorn_model.mail import Appended, NewMessage, PreparedBlob
from posthorn_storage.blobs.attach import attach, refer
from posthorn_storage.codes import CREATED, REF_MESSAGE, UPDATED
from posthorn_storage.mail import seen, threads
from posthorn_storage.mail.journal import Journal, Place
from posthorn_storage.mail.kinds import EMAIL, THREAD
from posthorn_storage.mail.search_text import clean, search_text

WRITE = """
WITH messages AS (
    INSERT INTO message (account_id, id, thread_id, blob_key, size, received_at, sent_at, created_modseq,
                         has_attachment, message_id, subject, base_subject, preview, envelope, body_structure, body,
                         structure, listing, headers)
    SELECT account_id, id, thread_id, blob_key, size, coalesce(received_at, clock_timestamp()), sent_at, modseq,
           has_attachment, message_id, subject, base_subject, preview, envelope, body_structure, body, structure,
           listing, headers
    FROM unnest($1::bigint[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bigint[], $6::timestamptz[],
                $7::timestamptz[], $8::bigint[], $9::boolean[], $10::text[], $11::text[], $12::text[], $13::text[],
                $14::bytea[], $15::bytea[], $16::bytea[], $17::bytea[], $18::bytea[], $19::bytea[])
        AS n (account_id, id, thread_id, blob_key, size, received_at, sent_at, modseq, has_attachment, message_id,
              subject, base_subject, preview, envelope, body_structure, body, structure, listing, headers)
), texts AS (
    INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
    SELECT * FROM unnest($1::bigint[], $2::bigint[], $20::text[], $21::text[], $22::text[], $23::text[], $24::text[],
                         $25::text[], $26::text[])
), keys AS (
    INSERT INTO thread_key (account_id, key, thread_id)
    SELECT * FROM unnest($27::bigint[], $28::bytea[], $29::bigint[])
    ON CONFLICT (account_id, key) DO NOTHING
)
INSERT INTO mailbox_message (account_id, mailbox_id, uid, message_id, modseq, size, flags, keywords)
SELECT account_id, mailbox_id, uid, message_id, modseq, size, flags, string_to_array(keywords, ' ')
FROM unnest($30::bigint[], $31::bigint[], $32::bigint[], $33::bigint[], $34::bigint[], $35::bigint[], $36::smallint[],
            $37::text[]) AS n (account_id, mailbox_id, uid, message_id, modseq, size, flags, keywords)
"""


EARLIER = """
SELECT m.account_id, m.id, m.thread_id, b.mailbox_id, b.uid, box.uidvalidity
FROM unnest($1::bigint[], $2::bigint[]) AS wanted (account_id, id)
JOIN message m ON m.account_id = wanted.account_id AND m.id = wanted.id
JOIN mailbox_message b ON b.account_id = m.account_id AND b.message_id = m.id
JOIN mailbox box ON box.account_id = b.account_id AND box.id = b.mailbox_id
ORDER BY b.mailbox_id
"""


@dataclass(slots=True, eq=False)
class Planned:
    """One message of a batch: where it goes, or which earlier one it repeats."""

    new: NewMessage
    places: list[Place]
    repeats: "Planned | MessageId | None" = None
    id: int = 0
    thread: int = 0
    modseq: int = 0
    uids: list[int] = field(default_factory=list)
    keys: list[bytes] = field(default_factory=list)

    @property
    def account(self) -> AccountId:
        return self.new.account


@dataclass(slots=True)
class Batch:
    """Messages being stored by one unit of work: prepare, admit each item, write, then ask for results."""

    journal: Journal
    window: float
    """Seconds within which equal content counts as a client's repeat."""
    forgotten: Mapping[seen.Key, MessageId]
    """Digests of deliveries whose replies arrived: no repeat of theirs is suppressed."""
    _known: dict[seen.Key, Planned | MessageId] = field(default_factory=dict)
    _planned: list[Planned] = field(default_factory=list)

    async def prepare(self, messages: Sequence[NewMessage]) -> None:
        """Read what planning needs: earlier deliveries and mailboxes, one statement each."""
        wanted = [(message.account, key) for message in messages for key in seen.keys(message)]
        self._known.update(await seen.find(self.journal.connection, wanted, self.window, self.forgotten))
        await self.journal.load(
            list(self.journal.counters), {mailbox for message in messages for mailbox in message.mailboxes}
        )

    def admit(self, messages: Sequence[NewMessage]) -> list[Planned]:
        """Take in one item: all of its messages, or none, and then the first problem is raised.

        Raises AccountNotFound, MailboxNotFound, OverQuota.
        """
        item: list[Planned] = []
        claimed: list[seen.Key] = []
        try:
            for message in messages:
                planned = self._plan(message)
                item.append(planned)
                if planned.repeats is None:
                    fresh = [(message.account, key) for key in seen.keys(message)]
                    self._known.update(dict.fromkeys(fresh, planned))
                    claimed.extend(fresh)
        except PosthornError:
            for planned in item:
                if planned.repeats is None:
                    self.journal.counters[planned.account].charge(-planned.new.summary.size, -1)
            for key in claimed:
                del self._known[key]
            raise
        self._planned.extend(planned for planned in item if planned.repeats is None)
        return item

    def _plan(self, message: NewMessage) -> Planned:
        counter = self.journal.counters.get(message.account)
        if counter is None:
            raise self.journal.absent(message.account)
        if message.mailboxes:
            places = [self.journal.place(message.account, mailbox) for mailbox in dict.fromkeys(message.mailboxes)]
        else:
            places = [self.journal.inbox(message.account)]
        found = (self._known.get((message.account, key)) for key in seen.keys(message))
        repeats = next((known for known in found if known is not None), None)
        if repeats is None:
            counter.charge(message.summary.size, 1)
        return Planned(message, places, repeats)

    async def write(self, others: Sequence[PreparedBlob] = ()) -> None:
        """Store every admitted message. `others` are blobs that the transaction will refer to later.

        All are attached at once: blob rows are locked in key order, so attaching twice could wait in a circle.
        """
        planned = self._planned
        connection = self.journal.connection
        if planned:
            await attach(connection, [*(one.new.blob for one in planned), *others])
            for one, number in zip(planned, await self.journal.ids.take(connection, len(planned)), strict=True):
                one.id = number
            await self._join_threads()
            await connection.execute(
                WRITE, *_message_columns(planned), *_key_columns(planned), *_place_columns(planned)
            )
            accounts = [one.account for one in planned]
            await refer(
                connection, REF_MESSAGE, [one.new.blob.key for one in planned], accounts, [p.id for p in planned]
            )
            remembered = [((one.account, key), MessageId(one.id)) for one in planned for key in seen.keys(one.new)]
            await seen.remember(connection, remembered)

    async def _join_threads(self) -> None:
        """Give each message its thread, merging threads that it ties together."""
        for one in self._planned:
            one.keys = threads.thread_keys(one.new.summary)
        wanted = [(one.account, key) for one in self._planned for key in one.keys]
        known: dict[tuple[AccountId, bytes], int] = dict(await threads.find(self.journal.connection, wanted))
        fresh: set[int] = set()
        for one in self._planned:
            tied = {known[one.account, key] for key in one.keys if (one.account, key) in known}
            # A stored thread wins over one that this batch opens: only its messages would have to change their ids.
            one.thread = min(tied - fresh, default=min(tied, default=one.id))
            if not tied:
                fresh.add(one.id)
            elif len(tied) > 1:
                gone = await self._merge(one, tied - {one.thread}, fresh)
                known.update({key: one.thread for key, thread in known.items() if thread in gone})
            known.update(dict.fromkeys(((one.account, key) for key in one.keys), one.thread))
        self._number(fresh)

    async def _merge(self, one: Planned, others: set[int], fresh: set[int]) -> set[int]:
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

    def _number(self, fresh: set[int]) -> None:
        """Hand out modseqs and UIDs in the order of the batch, and log what appears."""
        for one in self._planned:
            counter = self.journal.counters[one.account]
            one.modseq = counter.take()
            for place in one.places:
                one.uids.append(place.take_uid())
                place.count(int(one.new.flags.system), one.new.summary.size, 1)
            self.journal.log(one.account, EMAIL, CREATED, one.id, one.modseq)
            thread = CREATED if one.thread in fresh else UPDATED
            fresh.discard(one.thread)
            self.journal.log(one.account, THREAD, thread, one.thread, one.modseq)
            if one.new.delivered:
                counter.kinds.add(ChangeKind.EMAIL_DELIVERY)

    async def _read_earlier(self, items: Sequence[Planned]) -> dict[tuple[AccountId, MessageId], Appended]:
        """Where the messages of earlier deliveries are now, for those repeated in this batch."""
        wanted = list({(one.account, one.repeats) for one in items if isinstance(one.repeats, int)})
        if not wanted:
            return {}
        found: dict[tuple[AccountId, MessageId], Appended] = {}
        rows = await self.journal.connection.fetch(EARLIER, [pair[0] for pair in wanted], [pair[1] for pair in wanted])
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
    uids = tuple(
        (MailboxId(place.id), place.uidvalidity, Uid(uid)) for place, uid in zip(one.places, one.uids, strict=True)
    )
    return Appended(one.account, MessageId(one.id), ThreadId(one.thread), Modseq(one.modseq), uids, duplicate)


def _message_columns(planned: Sequence[Planned]) -> list[list[object]]:
    """Arrays 1 to 26 of WRITE: the rows of message and message_text."""
    rows = []
    for one in planned:
        new, summary, text = one.new, one.new.summary, search_text(one.new.summary)
        rows.append(
            (
                one.account,
                one.id,
                one.thread,
                new.blob.key,
                summary.size,
                new.received_at,
                summary.sent_at,
                one.modseq,
                summary.has_attachment,
                None if summary.message_id is None else clean(summary.message_id),
                clean(summary.subject),
                clean(summary.base_subject),
                clean(summary.preview),
                summary.envelope,
                summary.body_structure,
                summary.body,
                summary.structure,
                summary.listing,
                summary.headers,
                *text,
            )
        )
    return [list(column) for column in zip(*rows, strict=True)]


def _key_columns(planned: Sequence[Planned]) -> list[list[object]]:
    """Arrays 27 to 29 of WRITE: the rows of thread_key."""
    rows = {(one.account, key): one.thread for one in planned for key in one.keys}
    return [[account for account, _ in rows], [key for _, key in rows], list(rows.values())]


def _place_columns(planned: Sequence[Planned]) -> list[list[object]]:
    """Arrays 30 to 37 of WRITE: the rows of mailbox_message."""
    rows = [
        (
            one.account,
            place.id,
            uid,
            one.id,
            one.modseq,
            one.new.summary.size,
            int(one.new.flags.system),
            " ".join(sorted(one.new.flags.keywords)),
        )
        for one in planned
        for place, uid in zip(one.places, one.uids, strict=True)
    ]
    return [list(column) for column in zip(*rows, strict=True)]


async def append_in(journal: Journal, messages: Sequence[NewMessage], *, window: float) -> list[Appended]:
    """Store all of `messages` or, raising the first problem, none. Raises MailboxNotFound, OverQuota, Unavailable."""
    batch = Batch(journal, window, {})
    await batch.prepare(messages)
    items = batch.admit(messages)
    await batch.write()
    return await batch.results(items)
