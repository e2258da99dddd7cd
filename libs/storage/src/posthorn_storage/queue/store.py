"""QueueStore: the outgoing queue as services see it (flows.md C).

Enqueueing is part of somebody's transaction; attempts and outcomes are written under the shard's lease. It sends
nothing, chooses no retry times and composes no bounces.
"""

import asyncio
import contextlib
import hashlib
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, TypeAlias

from posthorn_model.errors import InvalidContent, NotFound, PosthornError
from posthorn_model.events import Changed
from posthorn_model.ids import BlobKey, Epoch, QueueMessageId
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import NO_TERMS, DueRecipient, NewQueueMessage, Outcome, RecipientState, Terms
from posthorn_storage.blobs.attach import attach, release
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.codes import REF_QUEUE
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.queue import sql
from posthorn_storage.queue.attempts import (
    Claim,
    Finish,
    Report,
    Start,
    claim_columns,
    fence_columns,
    lease_of,
    line_of,
    outcome_columns,
    start_columns,
)
from posthorn_storage.queue.facts import explain, tell_terms
from posthorn_storage.queue.listing import (
    QueuedMessage,
    QueueEvent,
    ShardDepth,
    event_of,
    message_of,
    recipient_of,
)
from posthorn_storage.queue.operations import Action, Done, Operations
from posthorn_storage.queue.pauses import PauseStore
from posthorn_storage.queue.selection import QueueFilter, Standing, standing_of
from posthorn_storage.queue.shares import ShareStore
from posthorn_storage.queue.spreads import SpreadStore, salt
from posthorn_storage.queue.suppression import SuppressionList
from posthorn_storage.queue.warm_up import WarmUpCounts
from posthorn_storage.queue.why import Explanation, SendingTerms

DOUBT_SECONDS: Final = 10.0
"""How long an attempt of an owner of the past is left alone before it counts as in doubt."""
LOST_SECONDS: Final = 3600.0
"""An attempt that the owner itself has not finished for so long is in doubt too; longer than any SMTP time limit."""
SETTLE_AMONG: Final = 50_000
"""Of the longest due of a shard, at most so many are looked at for what is closed already."""

Deliver: TypeAlias = Callable[[Connection, Sequence[NewMessage]], Awaitable[Sequence[Changed]]]
"""Stores messages in mailboxes inside a transaction; the events are to be told after its commit."""


class QueueStore:
    """The queue over all shards. `shards` is the cluster's number of them."""

    def __init__(
        self,
        database: Database,
        blobs: Blobs,
        *,
        shards: int,
        deliver: Deliver,
        notify: Callable[[Changed], None],
        doubt_seconds: float = DOUBT_SECONDS,
    ) -> None:
        self._database = database
        self._blobs = blobs
        self._deliver = deliver
        self._notify = notify
        self._doubt_seconds = doubt_seconds
        self.shards = shards
        self.operations = Operations(database, self._close)
        self.pauses = PauseStore(database, doubt_seconds=doubt_seconds, lost_seconds=LOST_SECONDS)
        self.suppressions = SuppressionList(database)
        self.spreads = SpreadStore(database, shards, doubt_seconds=doubt_seconds, lost_seconds=LOST_SECONDS)
        self.shares = ShareStore(database)
        self.warm_up = WarmUpCounts(database)

    def shard_of(self, site: str) -> int:
        """The shard of a destination: the same on every node, for ever. Of one that is spread the first."""
        return int.from_bytes(hashlib.blake2b(site.encode(), digest_size=8).digest(), "big") % self.shards

    async def enqueue(self, message: NewQueueMessage) -> QueueMessageId:
        """Queue a message; a repeat of an earlier delivery id is that one. Raises InvalidContent, Unavailable."""

        async def work(connection: Connection) -> list[QueueMessageId]:
            return await self.enqueue_in(connection, [message])

        return (await self._database.run(work))[0]

    async def enqueue_in(self, connection: Connection, messages: Sequence[NewQueueMessage]) -> list[QueueMessageId]:
        """Queue messages as part of a transaction of the caller's, READ COMMITTED. Raises as enqueue does."""
        if not all(message.recipients for message in messages):
            raise InvalidContent("a message without recipients cannot be queued")
        await attach(connection, [message.blob for message in messages], passing=True)
        rows = await connection.fetch(
            sql.ENQUEUE, *_message_columns(messages), *self._recipient_columns(messages), self.shards
        )
        found = {row["n"]: QueueMessageId(row["id"]) for row in rows}
        if len(found) < len(messages):
            again = [m.delivery_id for n, m in enumerate(messages, 1) if n not in found]
            before = {r["delivery_id"]: r["id"] for r in await connection.fetch(sql.ENQUEUED_BEFORE, again)}
            found |= {n: QueueMessageId(before[m.delivery_id]) for n, m in enumerate(messages, 1) if n not in found}
        return [found[n] for n in range(1, len(messages) + 1)]

    async def claim(
        self, shard: int, epoch: Epoch, limit: int, *, exclude: Collection[int] = (), sites: Collection[str] = ()
    ) -> list[DueRecipient]:
        """At most `limit` recipients that are due, the longest due first; nothing for an owner of the past.

        It changes nothing: rows stay due until `start_attempts`, so name what is at hand already in `exclude`. Nothing
        is claimed for `sites`. With `in_doubt` an earlier attempt's end is unknown (flows.md C).
        """
        return (await self.claim_all([Claim(shard, epoch, limit, exclude, sites)]))[0]

    async def claim_all(self, claims: Sequence[Claim]) -> list[list[DueRecipient]]:
        """The same of several shards in one statement, each under its own lease; of each what was found."""
        doubt = self._doubt_seconds, LOST_SECONDS
        if len(claims) == 1:
            (one,) = claims
            left_out = list(one.exclude), list(one.sites)
            rows = await self._database.fetch(
                sql.CLAIM, lease_of(one.shard), one.epoch, one.shard, *doubt, one.limit, *left_out
            )
            return [[_due(row) for row in rows]]
        found: list[list[DueRecipient]] = [[] for _ in claims]
        for row in await self._database.fetch(sql.CLAIM_EACH, *claim_columns(claims, doubt)):
            found[row["n"] - 1].append(_due(row))
        return found

    async def settle(self, shard: int, epoch: Epoch) -> int:
        """Take some of what the version before has closed out of the way of claims; returns how many, 0 at the end.

        Nothing for an owner of the past.
        """
        count: int = await self._database.fetchval(sql.SETTLE, [lease_of(shard)], [epoch], [shard], SETTLE_AMONG)
        return count

    async def start_attempts(self, recipients: Collection[int], shard: int, epoch: Epoch) -> set[int]:
        """Write the intent before the final dot (law 6): in flight, one attempt more. Returns those really changed.

        Only what is returned may be sent; the rest was cancelled, finished, or belongs to another owner by now.
        """
        return (await self.start_all([Start(recipients, shard, epoch)]))[0]

    async def start_all(self, starts: Sequence[Start]) -> list[set[int]]:
        """The same for several attempts in one transaction; returns what changed of each, and of none twice."""
        rows = await self._database.fetch(
            sql.START, *fence_columns(starts), *start_columns(starts), self._doubt_seconds, LOST_SECONDS
        )
        left = {row["id"] for row in rows}
        found = []
        for start in starts:
            found.append(left.intersection(start.recipients))
            left.difference_update(start.recipients)
        return found

    async def finish(self, outcomes: Sequence[Outcome], shard: int, dsns: Sequence[Report] = ()) -> int:
        """Write outcomes of attempts that were started, with their time line and `dsns`, in one transaction.

        Returns how many recipients changed: those in flight under the outcome's epoch, if that is still the shard's.
        With none, `dsns` are not stored. Repeating a call is harmless. A message without open recipients is done, and
        its blob is let go.
        """
        return (await self.finish_all([Finish(outcomes, shard, dsns)]))[0]

    async def finish_all(self, ends: Sequence[Finish]) -> list[int]:
        """The same for several attempts in one transaction; returns how many recipients changed of each."""

        async def work(connection: Connection) -> tuple[list[int], Sequence[Changed]]:
            rows = await connection.fetch(sql.FINISH, *fence_columns(ends), *outcome_columns(ends))
            await self._close(connection, {row["undecided"] for row in rows if row["undecided"] is not None})
            left = {row["id"] for row in rows if row["id"] is not None}
            counts = []
            dsns: list[Report] = []
            for end in ends:
                own = left.intersection(outcome.recipient for outcome in end.outcomes)
                left -= own
                counts.append(len(own))
                dsns += end.dsns if own else ()
            queued = [dsn for dsn in dsns if isinstance(dsn, NewQueueMessage)]
            if queued:
                await self.enqueue_in(connection, queued)
            local = [dsn for dsn in dsns if isinstance(dsn, NewMessage)]
            return counts, await self._deliver(connection, local) if local else ()

        counts, events = await self._database.run(work)
        for event in events:
            self._notify(event)
        return counts

    async def notices(self, recipients: Collection[int]) -> dict[int, int]:
        """How many notices of delay the senders of these recipients have had."""
        return {row["id"]: row["notices"] for row in await self._database.fetch(sql.NOTICES, sorted(recipients))}

    async def postpone(self, due: Mapping[int, datetime], shard: int, epoch: Epoch, status: str, reply: str) -> int:
        """Put recipients off without an attempt, each until its time, with the reason on their time line.

        Returns how many that concerned: those that wait, if the epoch is still the shard's.
        """
        ids = sorted(due)
        count: int = await self._database.fetchval(
            sql.POSTPONE, [lease_of(shard)], [epoch], [shard], ids, [due[each] for each in ids], status, line_of(reply)
        )
        return count

    async def next_due(self, shard: int) -> datetime | None:
        """When the next waiting recipient of the shard is (or was) due; None when none waits."""
        due: datetime | None = await self._database.fetchval(sql.NEXT_DUE, shard)
        return due

    async def depth(self) -> dict[RecipientState, int]:
        """How many recipients there are in each state, those done a short time ago too."""
        counts = {row["state"]: row["count"] for row in await self._database.fetch(sql.DEPTH)}
        return {state: counts.get(state, 0) for state in RecipientState}

    async def standings(self) -> dict[Standing, int]:
        """The same as people say it: what is held or paused is not among the waiting."""
        counts = dict.fromkeys(Standing, 0)
        for row in await self._database.fetch(sql.STANDINGS):
            counts[standing_of(RecipientState(row["state"]), row["parked"])] += row["count"]
        return counts

    async def overdue(self) -> float:
        """For how many seconds the recipient that is due the longest has been; 0 when none waits beyond its time."""
        seconds: float = await self._database.fetchval(sql.OVERDUE, self.shards)
        return seconds

    async def depth_by_shard(self) -> list[ShardDepth]:
        """Open recipients and those due now, of each shard that has any."""
        return [ShardDepth(r["shard"], r["open"], r["due"]) for r in await self._database.fetch(sql.DEPTH_BY_SHARD)]

    async def messages(self, wanted: QueueFilter | None = None, limit: int = 100) -> list[QueuedMessage]:
        """Messages with their recipients, the newest first."""
        wanted = wanted or QueueFilter()
        rows = await self._database.fetch(
            sql.LIST, *wanted.of_messages, *wanted.of_recipients, wanted.before, wanted.done, min(limit, 1000)
        )
        return await self._with_recipients(rows)

    async def show(self, message: QueueMessageId) -> QueuedMessage:
        """One message with its recipients. Raises NotFound."""
        rows = await self._database.fetch(sql.SHOW, message)
        if not rows:
            raise NotFound("no such message in the queue", message=message)
        return (await self._with_recipients(rows))[0]

    async def time_line(self, message: QueueMessageId, limit: int = 1000) -> list[QueueEvent]:
        """What happened to a message, in order; empty when there is no such message."""
        return [event_of(row) for row in await self._database.fetch(sql.TIME_LINE, message, limit)]

    async def why(self, message: QueueMessageId) -> list[Explanation]:
        """Of each recipient why it is still here and what happens next, in their order. Raises NotFound."""
        shown, events = await self.show(message), await self.time_line(message)
        return await explain(
            self._database,
            shown,
            events,
            await self.pauses.all(),
            self._doubt_seconds,
            (self.suppressions, self.shares),
        )

    async def tell_terms(self, terms: SendingTerms) -> None:
        """What the settings of smtp-out say, for whoever asks why something waits."""
        await tell_terms(self._database, terms)

    async def retry_now(self, message: QueueMessageId) -> list[int]:
        """Make what waits of a message due at once; returns the shards that concerns. Raises NotFound."""
        return list((await self._apply("reschedule", message)).shards)

    async def cancel(self, message: QueueMessageId) -> int:
        """Give up what waits of a message (what is in flight ends by itself); returns how many. Raises NotFound."""
        return (await self._apply("cancel", message)).recipients

    async def message_blob(self, message: QueueMessageId) -> bytes:
        """The content of a queued message. Raises NotFound; BlobNotFound once the message is done."""
        rows = await self._database.fetch(sql.SHOW, message)
        if not rows:
            raise NotFound("no such message in the queue", message=message)
        return await self._blobs.read(BlobKey(rows[0]["blob_key"]))

    async def contents(self, keys: Sequence[BlobKey]) -> list[bytes | PosthornError]:
        """The contents of queued messages, of those that lie in the database in one statement; or why it cannot be had.

        For small ones: they are in memory at once, and the first waits for the last.
        """
        with contextlib.suppress(PosthornError):  # whoever cannot be read is told so below
            await self._blobs.warm(set(keys))
        return await asyncio.gather(*map(self._content, keys))

    async def _content(self, key: BlobKey) -> bytes | PosthornError:
        try:
            return await self._blobs.read(key)
        except PosthornError as error:
            return error

    async def _apply(self, action: Action, message: QueueMessageId) -> Done:
        done = await self.operations.apply(action, QueueFilter(message=message))
        if not done.recipients:
            await self.show(message)
        return done

    async def _close(self, connection: Connection, messages: Collection[int]) -> None:
        """Mark those messages done that have no open recipient any more, and let their blobs go."""
        if messages:
            await connection.execute(sql.LOCK_MESSAGES, list(messages))
            done = [row["id"] for row in await connection.fetch(sql.DONE, list(messages))]
            await release(connection, REF_QUEUE, [0] * len(done), done)

    async def _with_recipients(self, rows: Sequence[Row]) -> list[QueuedMessage]:
        recipients: dict[int, list[Row]] = {row["id"]: [] for row in rows}
        for row in await self._database.fetch(sql.RECIPIENTS, list(recipients)):
            recipients[row["message_id"]].append(row)
        return [message_of(row, tuple(map(recipient_of, recipients[row["id"]]))) for row in rows]

    def _recipient_columns(self, messages: Sequence[NewQueueMessage]) -> list[list[object]]:
        rows = [
            (n, self.shard_of(r.site), r.site, r.address, r.notify, r.orcpt, message.terms.priority, salt(r.address))
            for n, message in enumerate(messages, 1)
            for r in message.recipients
        ]
        return [list(column) for column in zip(*rows, strict=True)]


def _message_columns(messages: Sequence[NewQueueMessage]) -> list[list[object]]:
    rows = [
        (m.sender, m.blob.key, m.blob.size, m.account, m.smtputf8, m.eight_bit, m.ret, m.envid, m.delivery_id,
         m.hold_until, m.signing_domain, m.terms.deliver_by, _by_mode(m.terms), m.terms.require_tls)
        for m in messages
    ]  # fmt: skip
    return [list(column) for column in zip(*rows, strict=True)]


def _due(row: Row) -> DueRecipient:
    """By position: to look up each column by its name takes as long again as the rest."""
    *facts, noticed, deliver_by, by_mode, priority, require_tls, _ = row
    terms = _terms(deliver_by, by_mode, priority, require_tls=require_tls)
    return DueRecipient(*(*facts, terms, noticed))


def _by_mode(terms: Terms) -> str | None:
    """The by-mode and by-trace of RFC 2852 4.1.2 as one text; None without a time to deliver by."""
    if terms.deliver_by is None:
        return None
    return ("R" if terms.by_return else "N") + ("T" if terms.by_trace else "")


def _terms(deliver_by: datetime | None, by_mode: str | None, priority: int, *, require_tls: bool) -> Terms:
    if deliver_by is None and not priority and not require_tls:
        return NO_TERMS
    mode = by_mode or "R"
    return Terms(deliver_by, mode[0] == "R", mode.endswith("T"), priority, require_tls)
