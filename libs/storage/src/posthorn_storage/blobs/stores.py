"""Which object store a blob lies in: stores have names in the settings and small numbers in each database's rows.

A new blob goes to one of the hot stores by its hash, and its row keeps the number, so that the list may grow, shrink
and change its order: what is stored is found where it was put. A number belongs to one name for ever.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn_model.errors import Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import ObjectStore
from posthorn_storage.blobs.disk_cache import DiskCache
from posthorn_storage.blobs.no_store import NoStore
from posthorn_storage.blobs.opening import open_store
from posthorn_storage.database import Connection, Database
from posthorn_storage.settings import BlobPlaces, StoreSettings

UNNAMED = ""
"""The name of a store that was opened without one; the first store with a name takes its number over."""
MAX_NUMBER = 32767

NAMES = "SELECT number, name FROM blob_store ORDER BY number"
ONE_AT_A_TIME = "LOCK TABLE blob_store IN SHARE ROW EXCLUSIVE MODE"
TAKE_OVER = "UPDATE blob_store SET name = $1 WHERE name = ''"
ADD = "INSERT INTO blob_store (number, name) VALUES ($1, $2)"
HOLDS_BLOBS = "SELECT EXISTS (SELECT FROM blob WHERE store = $1 AND object IS NOT NULL)"


@dataclass(frozen=True, slots=True)
class Stores:
    """The object stores of one database, by the numbers in its rows."""

    names: Mapping[int, str]
    opened: Mapping[int, ObjectStore]
    hot: Sequence[int]
    """New blobs are spread over these by their hash."""
    cold: int | None = None
    disk: DiskCache | None = None
    """What was read from the stores lately, on this machine."""
    default: ObjectStore | None = None
    """Where rows of other numbers lie; None: nowhere."""

    def number_for(self, key: BlobKey) -> int:
        """Where a new blob of this key is put."""
        return self.hot[int.from_bytes(key[:4], "big") % len(self.hot)]

    def of(self, number: int) -> ObjectStore:
        """The store of a row. Raises Unavailable when the settings no longer name it."""
        found = self.opened.get(number, self.default)
        if found is None:
            raise Unavailable(
                "the settings do not name the store that holds this content",
                store=self.names.get(number, ""),
                number=number,
            )
        return found


def alone(store: ObjectStore) -> Stores:
    """One store for everything, whatever number a row has."""
    return Stores({0: UNNAMED}, {0: store}, (0,), default=store)


class OpenStores:
    """The stores that a process has opened, each once, whatever number of databases keeps blobs in them."""

    def __init__(self, places: BlobPlaces | None) -> None:
        """None: for work on the database alone; what needs an object raises Unavailable."""
        self._places = places
        self._opened: dict[str, ObjectStore] = {}
        self._disk: DiskCache | None = None

    async def bind(self, database: Database, own: Sequence[str] = ()) -> Stores:
        """Open what this database needs and learn its numbers, giving new stores theirs.

        With stores of its `own` its new blobs go to those, and never to the cold store, which others share.

        Raises Unavailable, also when blobs lie in a store that the settings do not name.
        """
        places = self._places
        if places is None:
            return alone(NoStore())
        if places.disk_cache is not None and self._disk is None:
            self._disk = await DiskCache.open(places.disk_cache.path, places.disk_cache.size)
        hot = tuple(own) or tuple(places.hot)
        cold = "" if own else places.cold
        wanted = list(dict.fromkeys([*hot, *([cold] if cold else [])]))
        numbers = await _numbers(database, wanted)
        for name, number in numbers.items():
            if name in places.stores and (name in wanted or await database.fetchval(HOLDS_BLOBS, number)):
                await self._open(name, places.stores[name])
            elif await database.fetchval(HOLDS_BLOBS, number):
                raise Unavailable(f'the settings do not name the store "{name}", where blobs lie', number=number)
        return Stores(
            names={number: name for name, number in numbers.items()},
            opened={number: self._opened[name] for name, number in numbers.items() if name in self._opened},
            hot=[numbers[name] for name in hot],
            cold=numbers[cold] if cold else None,
            disk=self._disk,
        )

    async def probe(self) -> str:
        """Prove that every opened store answers; returns a text for people. Raises Unavailable."""
        if self._places is None:
            await NoStore().probe()
        for store in self._opened.values():
            await store.probe()
        return ", ".join(dict.fromkeys(type(store).__name__ for store in self._opened.values()))

    async def close(self) -> None:
        """Close every store."""
        for store in self._opened.values():
            await store.close()
        self._opened.clear()
        if self._disk is not None:
            self._disk.close()

    async def _open(self, name: str, settings: StoreSettings) -> None:
        if name not in self._opened:
            self._opened[name] = await open_store(settings)


async def _numbers(database: Database, wanted: Sequence[str]) -> Mapping[str, int]:
    """The number of each name that was ever used here; the wanted ones are recorded on their first use."""
    known = await _known(database)
    if not known or (UNNAMED not in wanted and not known.keys() >= set(wanted)):
        await database.run(lambda connection: _record(connection, wanted))
        known = await _known(database)
    if UNNAMED not in wanted:
        return known
    if len(known) > 1:
        raise Unavailable("blobs lie in several stores: open them by their names", stores=", ".join(known))
    return dict.fromkeys([UNNAMED], next(iter(known.values())))


async def _record(connection: Connection, wanted: Sequence[str]) -> None:
    await connection.execute(ONE_AT_A_TIME)
    found = {row["name"]: row["number"] for row in await connection.fetch(NAMES)}
    if found and UNNAMED in wanted:
        return
    if UNNAMED in found:
        await connection.execute(TAKE_OVER, wanted[0])
        found = {wanted[0]: found[UNNAMED]}
    following = max(found.values(), default=-1) + 1
    for number, name in enumerate((name for name in wanted if name not in found), following):
        if number > MAX_NUMBER:
            raise Unavailable("too many blob stores", name=name)
        await connection.execute(ADD, number, name)


async def _known(database: Database) -> dict[str, int]:
    return {row["name"]: row["number"] for row in await database.fetch(NAMES)}
