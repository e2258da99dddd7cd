"""The lookup store of one process, over cells that it alone reads and writes: no other process sees them.

Nothing here awaits, so each operation is atomic in its event loop.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias

from posthorn_model.lookup import Take, Taken
from posthorn_storage.lookup.buckets import SECOND, judged, moved

Kind: TypeAlias = Literal["counter", "limit", "value", "set"]
KINDS: tuple[Kind, ...] = ("counter", "limit", "value", "set")


@dataclass(frozen=True, slots=True)
class Cell:
    """What one key of one kind holds, until a moment (seconds) of the store's clock."""

    until: float
    number: int = 0
    """The sum of a counter."""
    value: bytes = b""
    members: Mapping[str, float] = field(default_factory=dict)
    """Until when each is in the set."""


class Cells(Protocol):
    """Where cells are. It may lose any of them, and need not know of their ends."""

    def read(self, kind: Kind, key: str) -> Cell | None: ...

    def write(self, kind: Kind, key: str, cell: Cell) -> None: ...

    def remove(self, kind: Kind, key: str) -> None: ...

    def describe(self) -> str:
        """A text for people."""
        ...

    def close(self) -> None: ...


class LocalLookup:
    """See the module; the methods are the port's. `now` gives seconds on a clock that lives as long as the cells."""

    def __init__(self, cells: Cells, now: Callable[[], float]) -> None:
        self._cells = cells
        self._now = now

    async def count(self, key: str, ttl: float, amount: int = 1) -> int:
        held = self._live("counter", key)
        cell = Cell(held.until, held.number + amount) if held else Cell(self._now() + ttl, amount)
        self._cells.write("counter", key, cell)
        return cell.number

    async def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        return {key: cell.number for key in keys if (cell := self._live("counter", key))}

    async def take(self, wanted: Sequence[Take]) -> Sequence[Taken]:
        return [self._take(take) for take in wanted]

    async def get(self, keys: Collection[str]) -> Mapping[str, bytes]:
        return {key: cell.value for key in keys if (cell := self._live("value", key))}

    async def put(self, values: Mapping[str, bytes], ttl: float) -> None:
        until = self._now() + ttl
        for key, value in values.items():
            self._cells.write("value", key, Cell(until, value=value))

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        held = self._live("value", key)
        if held is not None:
            return held.value
        await self.put({key: value}, ttl)
        return None

    async def swap(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        held = self._live("value", key)
        if held is None or held.value != expected:
            return False
        await self.put({key: value}, ttl)
        return True

    async def pop(self, key: str) -> bytes | None:
        held = self._live("value", key)
        self._cells.remove("value", key)
        return held.value if held else None

    async def drop(self, keys: Collection[str]) -> None:
        for key in keys:
            for kind in KINDS:
                self._cells.remove(kind, key)

    async def join(self, key: str, member: str, ttl: float, limit: int) -> int | None:
        now = self._now()
        members = self._members(key)
        if member not in members and len(members) >= limit:
            return None
        members[member] = now + ttl
        self._cells.write("set", key, Cell(max(members.values()), members=members))
        return len(members)

    async def leave(self, key: str, member: str) -> None:
        members = self._members(key)
        if members.pop(member, None) is not None:
            self._cells.write("set", key, Cell(max(members.values(), default=self._now()), members=members))

    async def members(self, key: str) -> frozenset[str]:
        return frozenset(self._members(key))

    async def probe(self) -> str:
        return self._cells.describe()

    async def close(self) -> None:
        self._cells.close()

    def _live(self, kind: Kind, key: str) -> Cell | None:
        held = self._cells.read(kind, key)
        return held if held is not None and held.until > self._now() else None

    def _take(self, take: Take) -> Taken:
        now = self._now()
        held = self._live("limit", take.key)
        ahead = int((held.until - now) * SECOND) if held else 0
        answer = judged(take, ahead)
        if answer.allowed and take.cost:
            self._cells.write("limit", take.key, Cell(now + moved(take, ahead) / SECOND))
        return answer

    def _members(self, key: str) -> dict[str, float]:
        held = self._live("set", key)
        now = self._now()
        return {member: until for member, until in held.members.items() if until > now} if held else {}
