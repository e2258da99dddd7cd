"""Bounces to senders of the cluster itself: stored in the mailbox within the transaction that writes the outcome.

The mailbox of an account that lives on another shard is not in reach of that transaction: its bounce waits in the queue
like any mail for a mailbox that takes nothing now.
"""

from collections.abc import Sequence
from uuid import uuid5

from posthorn_model.errors import PosthornError
from posthorn_model.events import Changed
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NewQueueMessage, NewRecipient
from posthorn_storage.codes import LOCAL_SITE
from posthorn_storage.database import Connection
from posthorn_storage.mail.append import open_batch
from posthorn_storage.mail.delivery import Enqueue
from posthorn_storage.mail.journal import Units

# Live here is what has a counter that takes changes.
ELSEWHERE = """
SELECT a.id, a.address FROM account a LEFT JOIN account_counter c ON c.account_id = a.id
WHERE a.id = ANY ($1::bigint[]) AND coalesce(c.state, 2) <> 0
"""


class Bounces:
    """Delivers in transactions of the queue's. `window` is the one of the mail store, in seconds."""

    def __init__(self, units: Units, enqueue: Enqueue, window: float) -> None:
        self._units = units
        self._enqueue = enqueue
        self._window = window

    async def __call__(self, connection: Connection, messages: Sequence[NewMessage]) -> list[Changed]:
        """Store what can be stored; a bounce to an account that is gone or full is dropped.

        The outcome it tells of must not be lost because of it: an undeliverable bounce goes nowhere (RFC 5321 6.1).
        """
        elsewhere = {
            row["id"]: row["address"]
            for row in await connection.fetch(ELSEWHERE, [message.account for message in messages])
        }
        await self._queue(connection, [(elsewhere[m.account], m) for m in messages if m.account in elsewhere])
        messages = [message for message in messages if message.account not in elsewhere]
        batch = await open_batch(self._units, connection, messages, window=self._window, forgotten={}, tolerant=True)
        for message in messages:
            try:
                batch.admit([message])
            except PosthornError as error:
                if error.temporary:
                    raise
        await batch.write()
        return batch.journal.changed()

    async def _queue(self, connection: Connection, bounces: Sequence[tuple[str, NewMessage]]) -> None:
        """Let them wait for whoever delivers to mailboxes; the delivery id makes a repeat a no-op."""
        if bounces:
            await self._enqueue(
                connection,
                [
                    NewQueueMessage(
                        sender="",
                        blob=message.blob,
                        recipients=[NewRecipient(address, LOCAL_SITE, notify="NEVER")],
                        eight_bit=True,
                        delivery_id=message.delivery_id and uuid5(message.delivery_id, address),
                    )
                    for address, message in bounces
                ],
            )
