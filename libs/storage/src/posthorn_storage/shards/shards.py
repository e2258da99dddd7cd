"""All shards of the cluster, as one process has them open: every unit of work finds its account's shard here.

With the home alone nothing is looked up. With more, a unit of work that meets an account on its way to another shard is
done again there, within seconds; nobody but it notices (flows.md F).
"""

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeVar

from posthorn_model.errors import AccountMoving, AccountNotFound, Unavailable
from posthorn_model.ids import AccountId
from posthorn_storage.database import Database
from posthorn_storage.mail.journal import Journal
from posthorn_storage.shards.placement import Placement, Placements
from posthorn_storage.shards.shard import HOME, Shard

PAUSES: Final = (0.02, 0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0, 1.0, 1.0)
"""Seconds between the tries of a unit of work whose account is on its way; in all longer than a freeze may last."""
T = TypeVar("T")


class Shards:
    """See the module. `shards` are those of this node's settings, the home among them."""

    def __init__(self, shards: Iterable[Shard], placements: Placements) -> None:
        self._shards = {shard.number: shard for shard in shards}
        self.placements = placements
        self.home = self._shards[HOME]
        self.only = self.home if len(self._shards) == 1 else None
        """The home where there is no other shard, so that nothing needs to be shared out."""

    def __iter__(self) -> Iterator[Shard]:
        return iter(self._shards.values())

    async def of(self, account: AccountId) -> Shard:
        """The shard of an account; the home for accounts nobody knows. Raises Unavailable."""
        if len(self._shards) == 1:
            return self.home
        placement = await self.placements.of(account)
        return self.home if placement is None else self.numbered(placement.shard)

    async def reading(self, account: AccountId) -> Database:
        """Where an account's rows are read for a decision: the primary of its shard. Raises Unavailable."""
        shard = await self.of(account)
        shard.pools.seen([account])
        return shard.database

    async def read(self, account: AccountId, work: Callable[[Database], Awaitable[T]]) -> T:
        """Run `work`, which only reads, where the account lives: on a replica that has what it must (Pools.read)."""

        async def once() -> T:
            return await (await self.of(account)).pools.read(account, work)

        return await self.follow([account], once)

    async def group(self, accounts: Iterable[AccountId]) -> dict[Shard, list[AccountId]]:
        """These accounts by shard, those nobody knows at home; the home comes last. Raises Unavailable."""
        wanted = list(dict.fromkeys(accounts))
        if len(self._shards) == 1:
            return {self.home: wanted} if wanted else {}
        placements = await self.placements.of_all(wanted)
        found: dict[Shard, list[AccountId]] = {}
        for account in sorted(wanted, key=lambda account: -(placements[account].shard if account in placements else 0)):
            shard = self.numbered(placements[account].shard) if account in placements else self.home
            found.setdefault(shard, []).append(account)
        return found

    async def change(self, account: AccountId, work: Callable[[Journal], Awaitable[T]]) -> T:
        """Run `work` under the account's lock, where the account lives. Raises as Units.change does."""
        return await self.follow([account], lambda: self._change(account, work))

    async def follow(self, accounts: Sequence[AccountId], work: Callable[[], Awaitable[T]]) -> T:
        """Run `work`, and again where it found accounts on their way, or gone from where they were thought to be.

        It must look up the accounts' shards itself, and have no effect when it raises.
        """
        looked_up: Mapping[AccountId, Placement] | None = None
        for pause in PAUSES:
            try:
                return await work()
            except AccountMoving:
                self.placements.forget(accounts)
                await asyncio.sleep(pause)
            except AccountNotFound:
                if len(self._shards) == 1:
                    raise
                # What is remembered now is not what the work went by: others may have looked the accounts up meanwhile.
                self.placements.forget(accounts)
                before, looked_up = looked_up, await self.placements.of_all(accounts)
                if before == looked_up:
                    raise
        return await work()

    async def _change(self, account: AccountId, work: Callable[[Journal], Awaitable[T]]) -> T:
        return await (await self.of(account)).units.change([account], work)

    def numbered(self, number: int) -> Shard:
        """Raises Unavailable for a shard that this node's settings do not have."""
        shard = self._shards.get(number)
        if shard is None:
            raise Unavailable("the account's shard is not in the settings of this node", shard=number)
        return shard

    def named(self, name: str | None) -> Shard:
        """The shard of a store's name; the home without one. Raises Unavailable."""
        if name is None:
            return self.home
        for shard in self._shards.values():
            if shard.name == name:
                return shard
        raise Unavailable("that shard is not part of the cluster yet: migrate it first", shard=name)
