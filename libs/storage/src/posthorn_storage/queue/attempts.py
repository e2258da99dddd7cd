"""What an attempt reads, and writes before its final dot and after the reply, and the combiners that do it for many.

Attempts of all shards of this process share a transaction: each row is written under the lease of its own shard. So do
claims of shards that look for work at the same moment.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, TypeAlias

from posthorn_model.errors import PosthornError
from posthorn_model.ids import BlobKey, Epoch
from posthorn_model.mail import NewMessage
from posthorn_model.queue_items import DueRecipient, NewQueueMessage, Outcome
from posthorn_storage.combiner import Combiner

MAX_REPLY: Final = 1000
Report: TypeAlias = NewQueueMessage | NewMessage
"""What tells a sender of an outcome: queued like other mail, or stored in a mailbox."""


CLAIMS: Final = 8
"""In one statement at most: what it finds is read at once, and nothing else goes on meanwhile."""


@dataclass(frozen=True, slots=True)
class Claim:
    """What is asked for of a shard: see QueueStore.claim."""

    shard: int
    epoch: Epoch
    limit: int
    exclude: Collection[int] = ()
    sites: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Start:
    """An attempt about to be made for these recipients of a shard."""

    recipients: Collection[int]
    shard: int
    epoch: Epoch


@dataclass(frozen=True, slots=True)
class Finish:
    """What came of attempts in one shard, and the reports about it."""

    outcomes: Sequence[Outcome]
    shard: int
    dsns: Sequence[Report] = ()


class AttemptStore(Protocol):
    """Where intents and outcomes go, and contents come from: posthorn_storage.queue.QueueStore."""

    async def claim_all(self, claims: Sequence[Claim]) -> list[list[DueRecipient]]:
        """See QueueStore."""
        ...

    async def start_all(self, starts: Sequence[Start]) -> list[set[int]]:
        """See QueueStore."""
        ...

    async def finish_all(self, ends: Sequence[Finish]) -> list[int]:
        """See QueueStore."""
        ...

    async def contents(self, keys: Sequence[BlobKey]) -> list[bytes | PosthornError]:
        """See QueueStore."""
        ...


class Attempts:
    """Works for the attempts of this process, those within `window` seconds together. Close it to write what waits.

    A caller that is cancelled while its batch runs leaves it to be written all the same.
    """

    def __init__(self, store: AttemptStore, window: float) -> None:
        # A claim waits for nobody: it shares the statement of those that are there, or had to wait for two others.
        self._claims: Combiner[Claim, list[DueRecipient]] = Combiner(
            store.claim_all, window=0.0, batch=CLAIMS, parallel=2
        )
        self._starts: Combiner[Start, set[int]] = Combiner(store.start_all, window=window)
        self._ends: Combiner[Finish, int] = Combiner(store.finish_all, window=window)
        self._contents: Combiner[BlobKey, bytes] = Combiner(store.contents, window=window)

    async def claim(self, claim: Claim) -> list[DueRecipient]:
        """See QueueStore.claim. Raises Unavailable, Overloaded."""
        return await self._claims.submit(claim)

    async def content(self, key: BlobKey) -> bytes:
        """The content of a small message, which others may wait for. Raises BlobNotFound, Unavailable, Overloaded."""
        return await self._contents.submit(key)

    async def start(self, start: Start) -> set[int]:
        """See QueueStore.start_attempts. Raises Unavailable, Overloaded."""
        return await self._starts.submit(start)

    async def finish(self, end: Finish) -> int:
        """See QueueStore.finish. Raises Unavailable, Overloaded, and what the reports raise."""
        return await self._ends.submit(end)

    async def close(self) -> None:
        """Return when everything is written or has failed."""
        await self._claims.close()
        await self._contents.close()
        await self._starts.close()
        await self._ends.close()


def lease_of(shard: int) -> str:
    """The key of a shard's lease."""
    return f"queue/{shard}"


def fence_columns(writes: Sequence[Start] | Sequence[Finish]) -> list[list[object]]:
    """Keys, epochs and shards, each once, in the order in which their leases are locked."""
    rows = sorted({row for write in writes for row in _fences(write)})
    return [[key for key, _, _ in rows], [epoch for _, epoch, _ in rows], [shard for _, _, shard in rows]]


def _fences(write: Start | Finish) -> set[tuple[str, Epoch, int]]:
    key = lease_of(write.shard)
    if isinstance(write, Start):
        return {(key, write.epoch, write.shard)}
    return {(key, outcome.epoch, write.shard) for outcome in write.outcomes}


def claim_columns(claims: Sequence[Claim], doubt: tuple[float, float]) -> list[object]:
    """The parameters of several claims; `doubt` as in one."""
    numbered = list(enumerate(claims, 1))
    return [
        [lease_of(claim.shard) for claim in claims],
        [claim.epoch for claim in claims],
        [claim.shard for claim in claims],
        *doubt,
        [claim.limit for claim in claims],
        [recipient for claim in claims for recipient in claim.exclude],
        [n for n, claim in numbered for _ in claim.sites],
        [site for claim in claims for site in claim.sites],
    ]


def start_columns(starts: Sequence[Start]) -> list[list[object]]:
    """Recipients (each once, ascending), their shards, and the epochs."""
    wanted = {recipient: start for start in starts for recipient in start.recipients}
    ids = sorted(wanted)
    return [list(ids), [wanted[one].shard for one in ids], [wanted[one].epoch for one in ids]]


def outcome_columns(ends: Sequence[Finish]) -> list[list[object]]:
    """Outcomes as twelve arrays, by ascending recipient; of several for one recipient the first."""
    wanted: dict[int, tuple[int, Outcome]] = {}
    for end in ends:
        for outcome in end.outcomes:
            wanted.setdefault(outcome.recipient, (end.shard, outcome))
    rows = [
        (
            o.recipient,
            shard,
            o.epoch,
            int(o.state),
            line_of(o.reply),
            o.status[:20],
            line_of(o.remote),
            o.due,
            o.tls,
            o.noticed,
            o.reply_class,
            o.notices,
        )
        for _, (shard, o) in sorted(wanted.items())
    ]
    return [list(column) for column in zip(*rows, strict=True)] if rows else [[] for _ in range(12)]


def line_of(text: str) -> str:
    """What a remote said, on one line, without what PostgreSQL cannot store, bounded."""
    line = " ".join(text.replace("\0", " ").split())[:MAX_REPLY]
    return line if line.isascii() else line.encode(errors="replace").decode()
