"""Delivery: what the combiner stores in one transaction, and what is remembered of it until the reply has arrived."""

import asyncio
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias
from uuid import UUID

from posthorn_model.errors import PosthornError
from posthorn_model.ids import MessageId
from posthorn_model.mail import Appended, NewMessage
from posthorn_model.queue_items import NewQueueMessage
from posthorn_storage.combiner import Combiner
from posthorn_storage.database import Connection
from posthorn_storage.database.succession import Succession
from posthorn_storage.mail import seen
from posthorn_storage.mail.append import open_batch
from posthorn_storage.mail.journal import Journal, Units
from posthorn_storage.mail.planned import Planned

Enqueue: TypeAlias = Callable[[Connection, Sequence[NewQueueMessage]], Awaitable[Any]]

REMEMBERED = 65_536
"""Deliveries whose reply may still be under way; the oldest are left to the window."""
PATIENCE = 4
"""Windows that a delivery waits for company at most, while others are stored (decision 0047)."""
FORGET_AFTER = 0.05
"""Seconds until digests of acknowledged deliveries are removed when no delivery takes them along."""


@dataclass(frozen=True, slots=True)
class Delivery:
    """One item: all of its messages and its queue messages are stored, or nothing of it."""

    messages: Sequence[NewMessage]
    enqueue: Sequence[NewQueueMessage]


class Deliveries:
    """Deliveries of this process. Close it to store what waits."""

    def __init__(self, units: Units, enqueue: Enqueue, *, duplicate_window: float, combine_window: float) -> None:
        self._units = units
        self._enqueue = enqueue
        self._window = duplicate_window
        self._combiner: Combiner[Delivery, list[Appended]] = Combiner(
            self._store,
            window=combine_window,
            patience=PATIENCE,
            keys=lambda item: (message.account for message in item.messages),
        )
        self._succession = Succession(units.database, lambda: self._combiner.waits)
        self._open: OrderedDict[UUID, list[tuple[seen.Key, MessageId]]] = OrderedDict()
        self._answered: dict[seen.Key, MessageId] = {}
        self._forgetting: asyncio.Task[None] | None = None

    async def deliver(self, delivery: Delivery) -> list[Appended]:
        """Store one item in company of others. Raises AccountNotFound, MailboxNotFound, OverQuota, Unavailable."""
        appended = await self._combiner.submit(delivery)
        for message, stored in zip(delivery.messages, appended, strict=True):
            if message.delivery_id is not None and message.dedupe is not None:
                keys = self._open.setdefault(message.delivery_id, [])
                keys.append(((message.account, seen.dedupe_key(message.dedupe)), stored.message))
        while len(self._open) > REMEMBERED:
            self._open.popitem(last=False)
        return appended

    def acknowledged(self, deliveries: Iterable[UUID]) -> None:
        """The replies reached the client: equal content is from now on a message of its own."""
        for delivery in deliveries:
            self._answered.update(self._open.pop(delivery, ()))
        if self._answered and (self._forgetting is None or self._forgetting.done()):
            self._forgetting = asyncio.get_running_loop().create_task(self._forget_later(), name="forget deliveries")

    async def close(self) -> None:
        """Store what waits, remove the digests of acknowledged deliveries."""
        await self._combiner.close()
        await self._succession.close()
        if self._forgetting is not None:
            self._forgetting.cancel()
            await asyncio.gather(self._forgetting, return_exceptions=True)
        await self._forget()

    async def _forget_later(self) -> None:
        while self._answered:
            await asyncio.sleep(FORGET_AFTER)
            await self._forget()

    async def _forget(self) -> None:
        answered = list(self._answered.items())
        if not answered:
            return
        try:
            async with self._units.database.connection() as connection:
                await seen.forget(connection, answered)
        except PosthornError:
            return  # they age out by the window; those of this process stay known as answered until then
        for key, message in answered:
            if self._answered.get(key) == message:
                del self._answered[key]

    async def _store(self, items: Sequence[Delivery]) -> list[list[Appended] | PosthornError]:
        async def unit(connection: Connection) -> tuple[list[list[Appended] | PosthornError], Journal]:
            return await self._store_in(connection, items)

        return await self._units.run(unit, self._succession)

    async def _store_in(
        self, connection: Connection, items: Sequence[Delivery]
    ) -> tuple[list[list[Appended] | PosthornError], Journal]:
        messages = [message for item in items for message in item.messages]
        batch = await open_batch(
            self._units, connection, messages, window=self._window, forgotten=dict(self._answered), tolerant=True
        )
        admitted: list[list[Planned] | PosthornError] = []
        for item in items:
            try:
                admitted.append(batch.admit(item.messages))
            except PosthornError as error:
                admitted.append(error)
        queued = [
            message
            for item, outcome in zip(items, admitted, strict=True)
            if not isinstance(outcome, PosthornError)
            for message in item.enqueue
        ]
        await batch.write([message.blob for message in queued])
        if queued:
            await self._enqueue(connection, queued)
        stored = iter(
            await batch.results([one for outcome in admitted if isinstance(outcome, list) for one in outcome])
        )
        outcomes = [[next(stored) for _ in outcome] if isinstance(outcome, list) else outcome for outcome in admitted]
        return outcomes, batch.journal
