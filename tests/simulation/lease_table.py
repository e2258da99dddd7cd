"""The lease table in memory: what the simulation has in the place of PostgreSQL.

It passes the same contract suite as the real one, which is the only reason why it may be believed. Each call is one
statement: it happens at once and by itself, as statements that lock their rows do.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, field

from posthorn_model.ids import Epoch


@dataclass(slots=True)
class Row:
    """One lease; `until` by the table's clock."""

    owner: str
    epoch: int
    until: float


@dataclass(frozen=True, slots=True)
class Write:
    """A write under a lease that the table let through; its place in `LeaseTable.log` is its order."""

    key: str
    epoch: int
    owner: str


@dataclass(slots=True)
class LeaseTable:
    """Leases and the log of what was written under them; `now` is the clock that judges expiry."""

    now: Callable[[], float]
    fencing: bool = True
    """Whether a write looks at the epoch; only a test that plants a fault says no."""
    counting: bool = True
    """Whether who takes a lease gets a new epoch; as above."""
    rows: dict[str, Row] = field(default_factory=dict)
    log: list[Write] = field(default_factory=list)
    refused: int = 0
    statements: int = 0

    def acquire(self, keys: Collection[str], owner: str, ttl: float) -> dict[str, Epoch]:
        """See posthorn_model.ports.LeaseStore."""
        self.statements += 1
        now, taken = self.now(), {}
        for key in sorted(set(keys)):
            row = self.rows.get(key)
            if row is None:
                row = self.rows[key] = Row(owner, 1, now + ttl)
            elif row.until <= now or row.owner == owner:
                if self.counting:
                    row.epoch += 1
                row.owner, row.until = owner, now + ttl
            else:
                continue
            taken[key] = Epoch(row.epoch)
        return taken

    def renew(self, held: Mapping[str, Epoch], owner: str, ttl: float) -> frozenset[str]:
        """See the port."""
        self.statements += 1
        mine = self._mine(held, owner)
        for key in mine:
            self.rows[key].until = self.now() + ttl
        return frozenset(mine)

    def release(self, held: Mapping[str, Epoch], owner: str) -> None:
        """See the port."""
        self.statements += 1
        for key in self._mine(held, owner):
            row = self.rows[key]
            row.until = min(row.until, self.now())

    def holders(self, prefix: str) -> dict[str, tuple[str, Epoch, float]]:
        """See the port."""
        self.statements += 1
        now = self.now()
        return {
            key: (row.owner, Epoch(row.epoch), max(0.0, row.until - now))
            for key, row in sorted(self.rows.items())
            if key.startswith(prefix)
        }

    def write(self, key: str, epoch: Epoch, owner: str) -> bool:
        """Write under a lease, in one transaction with a look at its epoch; False: it has another by now."""
        self.statements += 1
        row = self.rows.get(key)
        if self.fencing and (row is None or row.epoch != epoch):
            self.refused += 1
            return False
        self.log.append(Write(key, epoch, owner))
        return True

    def _mine(self, held: Mapping[str, Epoch], owner: str) -> list[str]:
        rows = self.rows
        return [
            key for key, epoch in held.items() if key in rows and (rows[key].owner, rows[key].epoch) == (owner, epoch)
        ]


class OpenTable:
    """The port LeaseStore directly over a table, without a network."""

    def __init__(self, table: LeaseTable) -> None:
        self.table = table

    async def acquire(self, keys: Collection[str], owner: str, ttl: float) -> Mapping[str, Epoch]:
        return self.table.acquire(keys, owner, ttl)

    async def renew(self, held: Mapping[str, Epoch], owner: str, ttl: float) -> Collection[str]:
        return self.table.renew(held, owner, ttl)

    async def release(self, held: Mapping[str, Epoch], owner: str) -> None:
        self.table.release(held, owner)

    async def holders(self, prefix: str) -> Mapping[str, tuple[str, Epoch, float]]:
        return self.table.holders(prefix)
