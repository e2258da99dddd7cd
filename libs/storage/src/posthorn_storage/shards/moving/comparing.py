"""Comparing an account at the source with its copy, so that what happens while it is frozen does not grow with it.

Nearly all rows belong to an object that the change log names whenever one of them changes (`contents.OWNED`). Those are
compared while the account is in use: all of them once, but for objects that changed again since they were copied; then,
step by step, those that changed in the meantime. So each row is compared after its last change, and while the account
is frozen only what changed since the last step is left, with the little that no log tells of.
"""

from collections.abc import Callable, Iterable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from posthorn_model.errors import Unavailable
from posthorn_storage.database import Connection
from posthorn_storage.shards.moving.contents import LOGGED, OTHERS, OWNED, REFERENCES, REPEATS, SEEN, WHOLE
from posthorn_storage.shards.moving.copying import Copy
from posthorn_storage.shards.moving.rows import BY_KEY, digests
from posthorn_storage.shards.moving.source_log import KINDS, Changed, changed_since

PASSES: Final = 10
"""A purge of deliveries at the source may come between copy and comparison so often."""

# Uploads end by the clock, frozen or not: those that are about to are of no use to anybody.
LASTING = f"{OTHERS} AND (expires_at IS NULL OR expires_at > $2)"
SOON = "SELECT now() + interval '1 minute'"
LOG = "kind = ANY ($2::smallint[]) AND modseq > $3 AND modseq <= $4"


@dataclass(frozen=True, slots=True)
class Scope:
    """Rows of a table: those for which `where` (from $2) holds."""

    where: str
    arguments: tuple[Any, ...] = ()


Digests: TypeAlias = dict[int, tuple[int, str]]
Choose: TypeAlias = Callable[[Changed, Changed | None], dict[str, Scope]]
"""From what changed since it was copied, and since the step before (None: all is to be compared), what to compare."""


@dataclass(slots=True)
class Comparison:
    """What of a copy has been found equal to its source. All methods raise Unavailable when something is not."""

    copy: Copy
    verified: int | None = None
    """Rows of all objects that have not changed since this modseq were equal; None: nothing is known yet."""

    async def step(self) -> None:
        """Compare what has been copied since the step before, but what changed again: that is copied again first.

        Raises CannotCalculateChanges when the change log does not reach back to the step before.
        """
        tables = [LOGGED, *(table for table in OWNED if table != SEEN)]
        # All rows of a table take their time: a snapshot for each then.
        groups = [[table] for table in tables] if self.verified is None else [tables]
        differing = []
        for group in groups:
            differing += await self._differing(partial(self._scopes, group))
        self._judge([*differing, *await self._deliveries()])
        self.verified = self.copy.modseq

    async def last(self) -> None:
        """While nothing changes any more: what is left to compare, and what no change log tells of."""
        await self.step()
        soon = await self.copy.source.pools.maintenance.fetchval(SOON)
        whole = {table: Scope("true") for table in WHOLE}
        differing = await self._differing(lambda _again, _before: {**whole, REFERENCES: Scope(LASTING, (soon,))})
        self._judge([*differing, *await self._deliveries(Scope(REPEATS))])

    async def _differing(self, choose: Choose) -> list[str]:
        """Which of the tables differ in the rows that `choose` gives."""
        async with self._snapshot() as source:
            scopes = choose(*await self._changed(source))
            here = {table: await self._digests(source, table, scope) for table, scope in scopes.items()}
        # The snapshot is let go before: it waits for nobody.
        async with self.copy.target.pools.maintenance.connection() as target:
            return [table for table in scopes if here[table] != await self._digests(target, table, scopes[table])]

    async def _deliveries(self, scope: Scope | None = None) -> list[str]:
        """Copy the deliveries of a scope (without one, that of a step) until they are the same."""
        for _ in range(PASSES):
            async with self._snapshot() as source:
                rows = scope or self._scopes([SEEN], *await self._changed(source)).get(SEEN)
                if rows is None:
                    return []
                here = await self._digests(source, SEEN, rows, part=BY_KEY)
            async with self.copy.target.pools.maintenance.connection() as target:
                there = await self._digests(target, SEEN, rows, part=BY_KEY)
            differing = {part for part, _ in here.items() ^ there.items()}
            if not differing:
                return []
            await self.copy.deliveries(sorted(differing))
        return [SEEN]

    async def _changed(self, source: Connection) -> tuple[Changed, Changed | None]:
        again = await changed_since(source, self.copy.account, self.copy.modseq)
        if self.verified is None:
            return again, None
        return again, await changed_since(source, self.copy.account, self.verified)

    def _scopes(self, tables: Iterable[str], again: Changed, before: Changed | None) -> dict[str, Scope]:
        """The rows to compare in a step, by table; tables without any are left out."""
        found = {}
        for table in tables:
            if table == LOGGED:
                # A purge at the source takes what is up to the horizon, and the copy may keep it.
                after = max(self.verified or 0, again.horizon)
                found[table] = Scope(LOG, (list(KINDS), after, self.copy.modseq))
                continue
            named, column, only = OWNED[table]
            if before is None:
                found[table] = Scope(f"{only} AND NOT ({column} = ANY ($2::bigint[]))", (sorted(again.objects[named]),))
            elif ids := before.objects[named] - again.objects[named]:
                found[table] = Scope(f"{only} AND {column} = ANY ($2::bigint[])", (sorted(ids),))
        return found

    async def _digests(self, connection: Connection, table: str, scope: Scope, part: str = "0") -> Digests:
        return await digests(connection, self.copy.account, table, scope.where, *scope.arguments, part=part)

    def _snapshot(self) -> AbstractAsyncContextManager[Connection]:
        return self.copy.source.pools.maintenance.transaction(isolation="repeatable_read", read_only=True)

    def _judge(self, differing: list[str]) -> None:
        if differing:
            raise Unavailable("the copy is not like the original", tables=differing)
