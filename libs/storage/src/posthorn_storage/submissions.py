"""Submissions (RFC 8621 7): one transaction stores the record, delivers to mailboxes and queues for everybody else.

So there is no submission that was not sent, and nothing is sent twice for one. What becomes of it is read from the
queue's rows, which outlive their delivery for a while. It composes nothing and checks no permission.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Final

from posthorn_model.errors import AccountNotFound, OverQuota
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId, MessageId, ThreadId
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NewQueueMessage, NewRecipient, RecipientState
from posthorn_storage.codes import CREATED, DESTROYED
from posthorn_storage.database import Row
from posthorn_storage.mail.append import Batch
from posthorn_storage.mail.delivery import Enqueue
from posthorn_storage.mail.identifiers import MessageIds
from posthorn_storage.mail.journal import Journal, Units, begin
from posthorn_storage.mail.kinds import KIND

NAMESPACE: Final = uuid.UUID("3f0c86cb-3c3a-4a0c-8a58-8d35a3b7f6d5")
LOCAL_SITE: Final = "local"
"""Where recipients wait in the queue whose mailbox takes nothing now."""

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

    def __init__(self, units: Units, enqueue: Enqueue, window: float) -> None:
        self._units = units
        self._database = units.database
        self._enqueue = enqueue
        self._window = window
        self._ids = MessageIds()

    async def submit(
        self,
        new: NewSubmission,
        local: Mapping[str, Sequence[NewMessage]],
        outgoing: NewQueueMessage,
    ) -> tuple[Submission, tuple[str, ...]]:
        """Store, deliver and queue in one transaction; returns the submission and the sites that have work now.

        `local` has, by recipient, a message for each account behind it; one whose mailbox takes nothing now (quota,
        account gone) is queued instead, to be tried again and to bounce. `outgoing` names all other recipients, or
        none. Raises AccountNotFound, Unavailable.
        """
        accounts = {message.account for messages in local.values() for message in messages}

        async def work(connection: Any) -> tuple[Submission, tuple[str, ...], Journal]:
            journal = await begin(connection, {new.account, *accounts}, tolerant=True)
            if new.account not in journal.counters:
                raise AccountNotFound(account=new.account)
            number = await connection.fetchval(NEXT)
            delivery = delivery_id(new.account, number)
            delivered = await self._deliver(journal, local, delivery)
            waiting = [NewRecipient(address, LOCAL_SITE) for address in local if address not in delivered]
            recipients = [*outgoing.recipients, *waiting]
            if recipients:
                await self._enqueue(connection, [replace(outgoing, recipients=recipients, delivery_id=delivery)])
            row = (number, new.identity, new.message, new.thread, json.dumps(new.envelope), sorted(delivered))
            send_at = await connection.fetchval(ADD, new.account, *row)
            journal.log(
                new.account,
                KIND[ChangeKind.EMAIL_SUBMISSION],
                CREATED,
                number,
                journal.counters[new.account].take(),
            )
            await journal.flush()
            made = Submission(
                number, new.account, new.identity, new.message, new.thread, new.envelope, send_at, delivered
            )
            return made, tuple(dict.fromkeys(recipient.site for recipient in recipients)), journal

        made, sites, journal = await self._database.run(work)
        self._units.announce(journal)
        return made, sites

    async def all(self, account: AccountId, ids: Sequence[int] | None = None) -> list[Submission]:
        """An account's submissions, the oldest first, with what became of each; with `ids` those alone."""
        rows = await (
            self._database.fetch(ALL, account) if ids is None else self._database.fetch(SOME, account, list(ids))
        )
        deliveries = {delivery_id(account, row["id"]): row["id"] for row in rows}
        fates: dict[int, dict[str, Fate]] = {}
        for row in await self._database.fetch(FATES, list(deliveries)) if deliveries else ():
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

        return await self._units.change([account], work) if ids else []

    async def _deliver(
        self, journal: Journal, local: Mapping[str, Sequence[NewMessage]], delivery: uuid.UUID
    ) -> frozenset[str]:
        """Store what can be stored; returns the recipients all of whose accounts have it."""
        named = {
            address: [replace(message, delivery_id=delivery) for message in messages]
            for address, messages in local.items()
        }
        batch = Batch(journal, self._ids, self._window, {})
        await batch.prepare([message for messages in named.values() for message in messages])
        delivered = set()
        for address, messages in named.items():
            try:
                batch.admit(messages)
            except (OverQuota, AccountNotFound):
                continue
            delivered.add(address)
        await batch.write()
        return frozenset(delivered)


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
