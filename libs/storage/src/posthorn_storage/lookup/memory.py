"""Cells in the memory of one process, at most so many: those written longest ago go first."""

from collections import OrderedDict

from posthorn_storage.lookup.local_store import Cell, Kind

MAX_CELLS = 100_000


class MemoryCells:
    """See posthorn_storage.lookup.local_store.Cells."""

    def __init__(self, limit: int = MAX_CELLS) -> None:
        self._limit = limit
        self._cells: OrderedDict[tuple[Kind, str], Cell] = OrderedDict()

    def read(self, kind: Kind, key: str) -> Cell | None:
        return self._cells.get((kind, key))

    def write(self, kind: Kind, key: str, cell: Cell) -> None:
        self._cells[kind, key] = cell
        self._cells.move_to_end((kind, key))
        if len(self._cells) > self._limit:
            self._cells.popitem(last=False)

    def remove(self, kind: Kind, key: str) -> None:
        self._cells.pop((kind, key), None)

    def describe(self) -> str:
        return f"memory of this process, {len(self._cells)} entries"

    def close(self) -> None:
        self._cells.clear()
