"""Submissions (RFC 8621 7): one unit of work stores the record, delivers to mailboxes and queues for everybody else.

So there is no submission that was not sent, and nothing is sent twice for one. What becomes of it is read from the
queue's rows, which outlive their delivery for a while. It composes nothing and checks no permission.
"""

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from posthorn_model.errors import AccountNotFound, MailboxNotFound, OverQuota
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId, MessageId, ThreadId
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_storage.codes import CREATED, DESTROYED, LOCAL_SITE
from posthorn_storage.database import Connection, Row
from posthorn_storage.mail.append import Batch
from posthorn_storage.mail.delivery import Enqueue
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import KIND
from posthorn_storage.mail_store import MailStore
from posthorn_storage.shards import Shards

NAMESPACE: Final = uuid.UUID("3f0c86cb-3c3a-4a0c-8a58-8d35a3b7f6d5")

ADD = """
INSERT INTO email_submission (account_id, id, identity_id, message_id, thread_id, envelope, delivered)
VALUES ($1, $2, $3, $4, $5, $6, $7) RETURNING send_at
"""

NEXT = "SELECT nextval('email_submission_id_seq')"

ALL = "SELECT * FROM email_submission WHERE account_id = $1 ORDER BY id"

SOME = "SELECT * FROM email_submission WHERE account_id = $1 AND id = ANY ($2::bigint[]) ORDER BY id"

REMOVE = "DELETE FROM email_submission WHERE account_id = $1 AND id = ANY ($2::bigint[]) RETURNING id"

FATES = """
SELECT m.delivery_id, r.address, r.state, r.reply, r.status FROM queue_message m
JOIN queue_recipient r ON r.message_id = m.id
WHERE m.delivery_id = ANY ($1::uuid[])
"""


@dataclass(frozen=True, slots=True)
class NewSubmission:
    """What is submitted. `envelope` is JSON-able: mailFrom and rcptTo as JMAP has them (RFC 8621 7)."""

    account: AccountId
    identity: int
    message: MessageId
    thread: ThreadId
    envelope: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Fate:
    """What became of one recipient so far: state, and the last reply or "" when there was none."""

    state: RecipientState
    reply: str
    status: str


@dataclass(frozen=True, slots=True)
class Submission:
    """A stored submission."""

    id: int
    account: AccountId
    identity: int
    message: MessageId
    thread: ThreadId
    envelope: Mapping[str, Any]
    send_at: datetime
    delivered: frozenset[str]
    """Addresses whose mailboxes had it at once."""
    fates: Mapping[str, Fate] = field(default_factory=dict)
    """Of queued recipients, by address; those purged from the queue are missing."""


class Submissions:
    """The submissions of all accounts. `window` is the mail store's against repeats, in seconds."""

    def __init__(self, shards: Shards, mail: MailStore, enqueue: Enqueue, window: float) -> None:
        self._shards = shards
        self._mail = mail
        self._enqueue = enqueue
        self._window = window

    async def submit(
        self,
        new: NewSubmission,
        local: Mapping[str, Sequence[NewMessage]],
        outgoing: NewQueueMessage,
    ) -> tuple[Submission, tuple[str, ...]]:
        """Store, deliver and queue as one; returns the submission and the sites that have work now.

        `local` has, by recipient, a message for each account behind it; one whose mailbox takes nothing now (quota,
        account gone) is queued instead, to be tried again and to bounce. `outgoing` names all other recipients, or
        none. Raises AccountNotFound, Unavailable.
        """
        accounts = {new.account, *(message.account for messages in local.values() for message in messages)}

        async def at_once() -> tuple[Submission, tuple[str, ...]] | None:
            if set(await self._shards.group(accounts)) != {self._shards.home}:
                return None
            return await self._send_at_once(new, local, outgoing)

        return await self._shards.follow(sorted(accounts), at_once) or await self._send_apart(new, local, outgoing)

    async def _send_at_once(
        self, new: NewSubmission, local: Mapping[str, Sequence[NewMessage]], outgoing: NewQueueMessage
    ) -> tuple[Submission, tuple[str, ...]]:
        """All accounts live beside the queue: one transaction."""
        units = self._shards.home.units
        accounts = {new.account, *(message.account for messages in local.values() for message in messages)}

        async def work(connection: Connection) -> tuple[Submission, tuple[str, ...], Journal]:
            journal = await units.begin(connection, accounts, tolerant=True)
            if new.account not in journal.counters:
                raise journal.absent(new.account)
            number = await connection.fetchval(NEXT)
            delivery = delivery_id(new.account, number)
            delivered = await self._deliver(journal, _named(local, delivery))
            queued = _queued(outgoing, local, delivered, delivery)
            if queued.recipients:
                await self._enqueue(connection, [queued])
            made = await _record(journal, new, number, delivered)
            await journal.flush()
            return made, _sites(queued), journal

        made, sites, journal = await units.database.run(work)
        units.announce(journal)
        return made, sites

    async def _send_apart(
        self, new: NewSubmission, local: Mapping[str, Sequence[NewMessage]], outgoing: NewQueueMessage
    ) -> tuple[Submission, tuple[str, ...]]:
        """Accounts live on several shards: deliver, queue, and then keep the record.

        The record comes last, so that there is none of a mail that was not sent. Who dies in between has told nobody
        that it was sent; each step is repeated without effect, for the delivery id is the submission's.
        """
        shard = await self._shards.of(new.account)
        number = await shard.database.fetchval(NEXT)
        delivery = delivery_id(new.account, number)
        delivered = set()
        for address, messages in _named(local, delivery).items():
            try:
                await self._mail.deliver(messages)
            except (OverQuota, AccountNotFound, MailboxNotFound):
                continue
            delivered.add(address)
        queued = _queued(outgoing, local, frozenset(delivered), delivery)
        if queued.recipients:
            home = self._shards.home.database
            await home.run(lambda connection: self._enqueue(connection, [queued]))

        async def work(journal: Journal) -> Submission:
            return await _record(journal, new, number, frozenset(delivered))

        return await self._shards.change(new.account, work), _sites(queued)

    async def all(self, account: AccountId, ids: Sequence[int] | None = None) -> list[Submission]:
        """An account's submissions, the oldest first, with what became of each; with `ids` those alone."""
        database = await self._shards.reading(account)
        rows = await (database.fetch(ALL, account) if ids is None else database.fetch(SOME, account, list(ids)))
        deliveries = {delivery_id(account, row["id"]): row["id"] for row in rows}
        fates: dict[int, dict[str, Fate]] = {}
        for row in await self._shards.home.database.fetch(FATES, list(deliveries)) if deliveries else ():
            fate = Fate(RecipientState(row["state"]), row["reply"], row["status"])
            fates.setdefault(deliveries[row["delivery_id"]], {})[row["address"]] = fate
        return [_submission(row, fates.get(row["id"], {})) for row in rows]

    async def destroy(self, account: AccountId, ids: Sequence[int]) -> list[int]:
        """Forget submissions (what was sent stays sent); returns those that were there. Raises AccountNotFound."""

        async def work(journal: Journal) -> list[int]:
            gone = [row["id"] for row in await journal.connection.fetch(REMOVE, account, list(ids))]
            for number in gone:
                modseq = journal.counters[account].take()
                journal.log(account, KIND[ChangeKind.EMAIL_SUBMISSION], DESTROYED, number, modseq)
            return gone

        return await self._shards.change(account, work) if ids else []

    async def _deliver(self, journal: Journal, named: Mapping[str, Sequence[NewMessage]]) -> frozenset[str]:
        """Store what can be stored; returns the recipients all of whose accounts have it."""
        batch = Batch(journal, self._window, {})
        await batch.prepare([message for messages in named.values() for message in messages])
        delivered = set()
        for address, messages in named.items():
            try:
                batch.admit(messages)
            except (OverQuota, AccountNotFound, MailboxNotFound):
                continue
            delivered.add(address)
        await batch.write()
        return frozenset(delivered)


async def _record(journal: Journal, new: NewSubmission, number: int, delivered: frozenset[str]) -> Submission:
    row = (number, new.identity, new.message, new.thread, json.dumps(new.envelope), sorted(delivered))
    send_at = await journal.connection.fetchval(ADD, new.account, *row)
    kind, modseq = KIND[ChangeKind.EMAIL_SUBMISSION], journal.counters[new.account].take()
    journal.log(new.account, kind, CREATED, number, modseq)
    return Submission(number, new.account, new.identity, new.message, new.thread, new.envelope, send_at, delivered)


def _named(local: Mapping[str, Sequence[NewMessage]], delivery: uuid.UUID) -> dict[str, list[NewMessage]]:
    return {
        address: [replace(message, delivery_id=delivery) for message in messages] for address, messages in local.items()
    }


def _queued(
    outgoing: NewQueueMessage, local: Iterable[str], delivered: frozenset[str], delivery: uuid.UUID
) -> NewQueueMessage:
    waiting = [NewRecipient(address, LOCAL_SITE) for address in local if address not in delivered]
    return replace(outgoing, recipients=[*outgoing.recipients, *waiting], delivery_id=delivery)


def _sites(queued: NewQueueMessage) -> tuple[str, ...]:
    return tuple(dict.fromkeys(recipient.site for recipient in queued.recipients))


def delivery_id(account: AccountId, submission: int) -> uuid.UUID:
    """The delivery id of everything that one submission is delivered as (design law 7)."""
    return uuid.uuid5(NAMESPACE, f"{account}/{submission}")


def _submission(row: Row, fates: Mapping[str, Fate]) -> Submission:
    return Submission(
        id=row["id"],
        account=row["account_id"],
        identity=row["identity_id"],
        message=row["message_id"],
        thread=row["thread_id"],
        envelope=json.loads(row["envelope"]),
        send_at=row["send_at"],
        delivered=frozenset(row["delivered"]),
        fates=fates,
    )
