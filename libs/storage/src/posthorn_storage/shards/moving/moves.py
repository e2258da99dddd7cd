"""The move of an account from shard to shard, step by step as in flows.md F, and what becomes of moves cut short.

Who moves holds the lease "move/<account>"; its epoch stands in the row of the move and in the frozen counter. The one
decision is the transaction at home that changes the account's placement: it needs the row of the move, still copying,
and the lease, still held. Before it the source is the truth and the copy is dropped; after it the target is.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal, TypeAlias

from posthorn_model.errors import AccountNotFound, AlreadyExists, NotPermitted, Unavailable
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.ids import AccountId, Epoch, Modseq
from posthorn_model.ports import LeaseStore
from posthorn_storage.database import Connection
from posthorn_storage.leases import Fence
from posthorn_storage.removal import Removal
from posthorn_storage.shards.moving.comparing import Comparison
from posthorn_storage.shards.moving.copying import Copy
from posthorn_storage.shards.placement import REMEMBERED_SECONDS
from posthorn_storage.shards.regions import keep_in_region
from posthorn_storage.shards.shard import Shard
from posthorn_storage.shards.shards import Shards

LEASE_SECONDS: Final = 12.0
LINGER_SECONDS: Final = 10 * REMEMBERED_SECONDS
"""The rows stay at the source for so long after the switch: who remembers the old placement may still read there."""
FREEZE_SECONDS: Final = 5.0
"""A freeze that takes longer is given up; the account was too busy at that moment."""
FEW: Final = 200
"""With no more changed objects than these an account is frozen."""
ROUNDS: Final = 30
ATTEMPTS: Final = 3
STEP_ROWS: Final = 5000

PLACE = "SELECT shard FROM account WHERE id = $1"
REGION = "SELECT region FROM account WHERE id = $1"
BEGIN = """
INSERT INTO account_move (account_id, source, target, step, epoch) VALUES ($1, $2, $3, 'copying', $4)
ON CONFLICT (account_id) DO NOTHING
"""
# A repair changes rows that no log tells of, and takes the mark away (posthorn_storage.check).
MARK = "UPDATE account_counter SET move_epoch = $2 WHERE account_id = $1 AND state = 0"
FREEZE = "UPDATE account_counter SET state = 1 WHERE account_id = $1 AND state = 0 AND move_epoch = $2 RETURNING modseq"
THERE = "SELECT EXISTS (SELECT FROM account_counter WHERE account_id = $1)"
THAW = "UPDATE account_counter SET state = 0 WHERE account_id = $1 AND state = 1 AND move_epoch = $2"
PLACED = "UPDATE account SET shard = $3, epoch = epoch + 1 WHERE id = $1 AND shard = $2"
SWITCHED = """
UPDATE account_move SET step = 'switched', switched_at = now()
WHERE account_id = $1 AND step = 'copying' AND epoch = $2
"""
LEAVE = "UPDATE account_counter SET state = 2 WHERE account_id = $1 AND state = 1 AND move_epoch = $2"
GIVE_UP = "DELETE FROM account_move WHERE account_id = $1 AND step = 'copying' AND epoch = $2"
DONE = "DELETE FROM account_move WHERE account_id = $1 AND step = 'switched' AND epoch = $2"
ALL = """
SELECT m.account_id, m.source, m.target, m.step, m.epoch, m.started_at, m.switched_at,
       m.switched_at < now() - make_interval(secs => $1) AS over,
       coalesce(l.until > now() AND l.epoch = m.epoch, false) AS live
FROM account_move m LEFT JOIN lease l ON l.key = 'move/' || m.account_id
ORDER BY m.started_at LIMIT 1000
"""
FROZEN = "SELECT account_id, move_epoch FROM account_counter WHERE state = 1"

Step: TypeAlias = Literal["copying", "catching up", "frozen", "switched"]


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a move is; `messages` have been copied so far of about `total`."""

    step: Step
    messages: int
    total: int


@dataclass(frozen=True, slots=True)
class Moved:
    """What a move did. `frozen` is in seconds: so long writers of the account had to wait."""

    account: AccountId
    source: str
    target: str
    messages: int
    frozen: float


@dataclass(frozen=True, slots=True)
class Move:
    """A move as the cluster knows it: under way, cut short, or over with the old rows still there."""

    account: AccountId
    source: int
    target: int
    step: str
    epoch: Epoch
    started_at: datetime
    switched_at: datetime | None
    live: bool
    """Whether somebody works at it; one that copies and is not live was cut short."""
    over: bool
    """Whether it was switched so long ago that the old rows may go."""


class Moves:
    """See the module. `notify` hears of a moved account; `owner` names this process in leases."""

    def __init__(self, shards: Shards, leases: LeaseStore, owner: str, notify: Callable[[Changed], None]) -> None:
        self._shards = shards
        self._home = shards.home.database
        self._leases = leases
        self._owner = owner
        self._notify = notify

    async def all(self) -> list[Move]:
        """Every move that is not wholly over, the oldest first."""
        return [
            Move(
                AccountId(row["account_id"]),
                row["source"],
                row["target"],
                row["step"],
                Epoch(row["epoch"]),
                row["started_at"],
                row["switched_at"],
                row["live"],
                bool(row["over"]),
            )
            for row in await self._home.fetch(ALL, LINGER_SECONDS)
        ]

    async def move(self, account: AccountId, target: str, tell: Callable[[Progress], None] | None = None) -> Moved:
        """Move an account that may be in use. Killed at any point it leaves the account where it was, or moved.

        Raises AccountNotFound, NotPermitted (it lives there already, or is pinned to another region), AlreadyExists (a
        move is under way or not wholly over), Unavailable (also when the account is too busy to be frozen).
        """
        source, goal = await self._shards.of(account), self._shards.named(target)
        if await self._home.fetchval(PLACE, account) is None:
            raise AccountNotFound(account=account)
        if source is goal:
            raise NotPermitted("the account lives on that shard already", account=account)
        await self._home.run(lambda connection: _may_live(connection, account, goal))
        async with self._held(account) as epoch:
            await self.recover()
            if not await self._home.execute(BEGIN, account, source.number, goal.number, epoch):
                raise AlreadyExists("another move of the account is not over yet, try again later", account=account)
            try:
                return await self._bring(account, source, goal, epoch, tell or (lambda _: None))
            except BaseException:
                # Under a shield: also a cancelled move leaves nothing behind, if the databases answer.
                with suppress(Unavailable):
                    await asyncio.shield(self._abort(account, source, goal, epoch))
                raise

    async def recover(self) -> int:
        """Undo moves that were cut short, complete those that were switched; returns how many. Raises Unavailable."""
        moves = await self.all()
        count = 0
        for move in moves:
            source, goal = self._shards.numbered(move.source), self._shards.numbered(move.target)
            if move.step == "switched":
                await self._complete(move.account, source, goal, move.epoch)
            elif not move.live:
                await self._abort(move.account, source, goal, move.epoch)
                count += 1
        known = {move.account for move in moves}
        for shard in self._shards:
            for row in await shard.database.fetch(FROZEN):
                # Frozen by somebody whose move was undone before: it can never switch, so thawing harms nothing.
                account = row["account_id"]
                if account not in known and await self._home.fetchval(PLACE, account) == shard.number:
                    count += await shard.database.execute(THAW, account, row["move_epoch"])
        return count

    async def clean(self) -> list[AccountId]:
        """Remove what moved accounts left at the source, once nobody can remember them there; returns which."""
        cleaned = []
        for move in await self.all():
            if move.step != "switched" or not move.over:
                continue
            source, goal = self._shards.numbered(move.source), self._shards.numbered(move.target)
            await self._complete(move.account, source, goal, move.epoch)
            await self._clear(move.account, source)
            await self._home.execute(DONE, move.account, move.epoch)
            cleaned.append(move.account)
        return cleaned

    async def _bring(
        self, account: AccountId, source: Shard, goal: Shard, epoch: Epoch, tell: Callable[[Progress], None]
    ) -> Moved:
        done, total = 0, await source.database.fetchval("SELECT count(*) FROM message WHERE account_id = $1", account)

        def copied(messages: int) -> None:
            nonlocal done
            done += messages
            tell(Progress("copying", done, max(done, total)))

        await self._clear(account, goal)
        copy = Copy(account, source, goal, copied)
        comparison = Comparison(copy)
        await source.database.execute(MARK, account, epoch)
        await copy.all()
        for _ in range(ATTEMPTS):
            tell(Progress("catching up", done, total))
            await self._catch_up(copy, comparison)
            tell(Progress("frozen", done, total))
            began = time.monotonic()
            modseq = await self._freeze(account, source, epoch)
            try:
                async with asyncio.timeout(FREEZE_SECONDS):
                    await copy.rest()
                    await comparison.last()
                await self._switch(account, source, goal, epoch)
            except TimeoutError:
                await source.database.execute(THAW, account, epoch)
                continue
            await self._complete(account, source, goal, epoch)
            tell(Progress("switched", done, total))
            self._notify(Changed(account, modseq, frozenset(ChangeKind)))
            return Moved(account, source.name, goal.name, total, time.monotonic() - began)
        raise Unavailable("the account is too busy to be moved now, try again later", account=account)

    async def _catch_up(self, copy: Copy, comparison: Comparison) -> None:
        """Copy and compare until little is left of either; all the rest has been compared then."""

        async def both() -> int:
            changed = await copy.changes()
            await comparison.step()
            return changed

        await _settle(copy.changes)
        # The first step compares all rows. That takes its time, in which more changes: hence the second time.
        await comparison.step()
        await _settle(both)

    async def _freeze(self, account: AccountId, source: Shard, epoch: Epoch) -> Modseq:
        modseq = await source.database.fetchval(FREEZE, account, epoch)
        if modseq is None:
            if await source.database.fetchval(THERE, account):
                raise Unavailable("the account was repaired while it was copied, try again", account=account)
            raise AccountNotFound(account=account)
        return Modseq(modseq)

    async def _switch(self, account: AccountId, source: Shard, goal: Shard, epoch: Epoch) -> None:
        """The decision: all of it, or nothing and the source stays the truth."""

        async def work(connection: Connection) -> None:
            held = await Fence(_key(account), epoch).hold(connection)
            await _may_live(connection, account, goal)
            moved = await connection.execute(PLACED, account, source.number, goal.number)
            noted = await connection.execute(SWITCHED, account, epoch)
            if not held or moved != "UPDATE 1" or noted != "UPDATE 1":
                raise Unavailable("the move was taken over, or the account is gone", account=account)

        await self._home.run(work)
        self._shards.placements.forget([account])

    async def _complete(self, account: AccountId, source: Shard, goal: Shard, epoch: Epoch) -> None:
        """After the switch: the source refuses, the target takes changes. Idempotent."""
        await source.database.execute(LEAVE, account, epoch)
        await goal.database.execute(THAW, account, epoch)

    async def _abort(self, account: AccountId, source: Shard, goal: Shard, epoch: Epoch) -> None:
        """Before the switch: from here on it cannot happen; the source takes changes again, the copy goes."""
        if not await self._home.execute(GIVE_UP, account, epoch):
            return
        await source.database.execute(THAW, account, epoch)
        await self._clear(account, goal)

    async def _clear(self, account: AccountId, shard: Shard) -> None:
        removal = Removal(shard.units, self._notify)
        await removal.close(account)
        while await removal.step(account, STEP_ROWS):
            pass

    @asynccontextmanager
    async def _held(self, account: AccountId) -> AsyncIterator[Epoch]:
        """Hold the lease of the account's move, renewed until the end. Raises AlreadyExists."""
        key = _key(account)
        taken = await self._leases.acquire([key], self._owner, LEASE_SECONDS)
        if key not in taken:
            raise AlreadyExists("the account is being moved already", account=account)

        async def renew() -> None:
            while True:
                await asyncio.sleep(LEASE_SECONDS / 3)
                with suppress(Unavailable):
                    await self._leases.renew(taken, self._owner, LEASE_SECONDS)

        renewing = asyncio.create_task(renew(), name=f"renew {key}")
        try:
            yield taken[key]
        finally:
            renewing.cancel()
            with suppress(asyncio.CancelledError):
                await renewing
            with suppress(Unavailable):
                await self._leases.release(taken, self._owner)


async def _settle(again: Callable[[], Awaitable[int]]) -> None:
    """Repeat what tells how many objects had changed, until they are few; or until they are no fewer than the time
    before: writers are then faster than the copy, the next time would only take longer, and it is for the freeze.
    """
    before = math.inf
    for _ in range(ROUNDS):
        changed = await again()
        if changed <= FEW or changed >= before:
            return
        before = changed


async def _may_live(connection: Connection, account: AccountId, shard: Shard) -> None:
    """Raises NotPermitted when the account is pinned to a region that the shard does not stand in."""
    await keep_in_region(connection, [(shard.number, await connection.fetchval(REGION, account) or "")])


def _key(account: AccountId) -> str:
    return f"move/{account}"
