"""Upkeep of blobs: collection, tiers, scrub and the search for orphans, on every database, each call one bounded step.

All of it is work of one role, whose lease every step carries; it schedules nothing and remembers nothing but in rows.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from posthorn_model.ids import BlobKey
from posthorn_model.ports import ObjectStore
from posthorn_storage.blobs.collect import collect
from posthorn_storage.blobs.orphans import find_orphans
from posthorn_storage.blobs.places import Place
from posthorn_storage.blobs.tiers import move_to_cold, sweep
from posthorn_storage.check.blob_content import look_at_blobs
from posthorn_storage.check.rules import Finding
from posthorn_storage.database import Connection
from posthorn_storage.leases import Fence

POSITION = "SELECT position FROM blob_walk WHERE name = $1"

# At its end a round begins anew.
WALKED = """
INSERT INTO blob_walk AS w (name, position) VALUES ($1, $2)
ON CONFLICT (name) DO UPDATE SET
    position = EXCLUDED.position,
    began_at = CASE WHEN w.position = '' THEN now() ELSE w.began_at END,
    ended_at = CASE WHEN EXCLUDED.position = '' THEN now() ELSE w.ended_at END
"""

SCRUB: Final = "scrub"
ORPHANS: Final = "orphans"
_BETWEEN: Final = "\n"


@dataclass(frozen=True, slots=True)
class Scrubbed:
    """What one step of the scrub looked at."""

    looked_at: int
    findings: Sequence[Finding]
    ended: bool
    """Every blob of every database has been looked at: the next step begins anew."""


@dataclass(frozen=True, slots=True)
class Searched:
    """What one step of the search for orphans looked at."""

    looked_at: int
    orphans: Sequence[BlobKey]
    removed: int
    foreign: int
    ended: bool
    """The last page of every store has been looked at."""


class BlobUpkeep:
    """See the module. `places` are all databases of the cluster, the home first; the rest is in seconds.

    `on` is the number of the one database to work on; all when not said.

    All methods raise Unavailable, Overloaded, and change nothing once the lease has another epoch.
    """

    def __init__(self, places: Sequence[Place], *, grace: float, cold_after: float) -> None:
        self._places = places
        self._grace = grace
        self._cold_after = cold_after

    async def collect(self, fence: Fence, limit: int, *, on: int | None = None) -> int:
        """Remove blobs that nothing has referred to for the grace time (flows.md E)."""
        gone = 0
        for place in self._some(on):
            await place.plant(fence)
            gone += await collect(place.database, place.stores, fence, grace=self._grace, limit=limit - gone)
            if gone >= limit:
                break
        return gone

    async def move_to_cold(self, fence: Fence, limit: int, *, on: int | None = None) -> int:
        """Move old blobs to the cold store, where there is one; returns how many were moved."""
        moved = 0
        for place in self._some(on):
            await place.plant(fence)
            moved += await move_to_cold(place, fence, age=self._cold_after, limit=limit - moved)
            if moved >= limit:
                break
        return moved

    async def sweep(self, fence: Fence, limit: int, *, on: int | None = None) -> int:
        """Delete what moves have left behind for the grace time; returns how many objects went."""
        gone = 0
        for place in self._some(on):
            await place.plant(fence)
            gone += await sweep(place, fence, grace=self._grace, limit=limit - gone)
            if gone >= limit:
                break
        return gone

    async def scrub(self, fence: Fence, limit: int) -> Scrubbed:
        """Read the next `limit` blobs that lie in object stores, and compare them with their hashes."""
        names = [str(number) for number in range(len(self._places))]
        number, position = await self._where(SCRUB, names)
        place = self._places[number]
        looked = await look_at_blobs(place.database, place.stores, bytes.fromhex(position), limit)
        ended = await self._walk(fence, SCRUB, names, number, looked.last.hex())
        return Scrubbed(looked.looked_at, looked.findings, ended)

    async def find_orphans(self, fence: Fence, limit: int, *, age: float, remove: bool) -> Searched:
        """Look at the next page of objects for those that no database names; `remove` deletes them."""
        stores = self._stores()
        names = sorted(stores)
        number, position = await self._where(ORPHANS, names)
        store, databases = stores[names[number]], [place.database for place in self._places]
        page = await find_orphans(databases, store, position, age=max(age, self._grace), limit=limit)
        removed = 0
        if remove and await self._holds(fence):
            for key in page.orphans:
                await store.delete(key)
                removed += 1
        ended = await self._walk(fence, ORPHANS, names, number, page.after)
        return Searched(page.looked_at, page.orphans, removed, page.foreign, ended)

    def _some(self, on: int | None) -> Sequence[Place]:
        return self._places if on is None else self._places[on : on + 1]

    def _stores(self) -> dict[str, ObjectStore]:
        """Every store that a database has blobs in, once, whatever number it has there."""
        return {
            place.stores.names[number]: store for place in self._places for number, store in place.stores.opened.items()
        }

    async def _where(self, walk: str, names: Sequence[str]) -> tuple[int, str]:
        """Which of `names` a walk has come to, and where in it; the beginning when there is no such name any more."""
        found = await self._places[0].database.fetchval(POSITION, walk) or ""
        name, _, position = found.partition(_BETWEEN)
        return (names.index(name), position) if found and name in names else (0, "")

    async def _walk(self, fence: Fence, walk: str, names: Sequence[str], number: int, position: str) -> bool:
        """Keep where a walk goes on; returns whether it has come to its end."""
        number += not position
        ended = number == len(names)
        text = "" if ended else f"{names[number]}{_BETWEEN}{position}"

        async def work(connection: Connection) -> None:
            if await fence.hold(connection):
                await connection.execute(WALKED, walk, text)

        await self._places[0].database.run(work)
        return ended

    async def _holds(self, fence: Fence) -> bool:
        return await self._places[0].database.run(fence.hold)
