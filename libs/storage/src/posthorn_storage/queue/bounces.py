"""Bounces to senders of the cluster itself: stored in the mailbox within the transaction that writes the outcome."""

from collections.abc import Sequence

from posthorn_model.errors import PosthornError
from posthorn_model.events import Changed
from posthorn_model.mail import NewMessage
from posthorn_storage.database import Connection
from posthorn_storage.mail.append import Batch, Planned
from posthorn_storage.mail.identifiers import MessageIds
from posthorn_storage.mail.journal import begin


class Bounces:
    """Delivers in transactions of the queue's. `window` is the one of the mail store, in seconds."""

    def __init__(self, ids: MessageIds, window: float) -> None:
        self._ids = ids
        self._window = window

    async def __call__(self, connection: Connection, messages: Sequence[NewMessage]) -> list[Changed]:
        """Store what can be stored; a bounce to an account that is gone or full is dropped.

        The outcome it tells of must not be lost because of it: an undeliverable bounce goes nowhere (RFC 5321 6.1).
        """
        journal = await begin(connection, [message.account for message in messages], tolerant=True)
        batch = Batch(journal, self._ids, self._window, {})
        await batch.prepare(messages)
        admitted: list[Planned] = []
        for message in messages:
            try:
                admitted += batch.admit([message])
            except PosthornError as error:
                if error.temporary:
                    raise
        await batch.write()
        await batch.results(admitted)
        await journal.flush()
        return journal.changed()
