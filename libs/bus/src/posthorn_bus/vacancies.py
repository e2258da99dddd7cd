"""When a process may try keys that it is not proposed: what it knows of the leases of others, and whose turn it is.

Leases show how long they last yet, so that what a dead owner leaves is known beforehand, to the moment. Who is proposed
a key has the first chance, then those who have less than an even share, each at a time of its own, so that they rarely
meet; and when nobody took it, anybody. What an owner gave back is left to whom it is proposed for longer.

It decides no more than when to ask: the lease decides.
"""

import math
from collections.abc import Collection, Mapping, Sequence

from posthorn_bus.sharing import chance, natural
from posthorn_model.ids import Epoch

FIRST = 0.01
"""Seconds after the end of a lease when the process that is proposed its key asks for it."""


class Vacancies:
    """Of the keys that one process may have. Times are its monotonic clock's; `ttl` is how long leases last."""

    def __init__(self, owner: str, keys: Sequence[str], ttl: float) -> None:
        self._owner = owner
        self._keys = frozenset(keys)
        self._ttl = ttl
        self._patience = {key: ttl * (1 + 2 * chance(key, owner)) / 80 for key in keys}
        self._due: dict[str, float] = {}
        """When a lease ends, as it was seen last, or may be asked for again."""
        self._bare: set[str] = set()
        self._owners: dict[str, str] = {}

    def look(self, holders: Mapping[str, tuple[str, Epoch, float]], now: float) -> None:
        """What the lease table showed (see LeaseStore.holders); `now` is when its answer came."""
        self._owners = {}
        for key in self._keys:
            owner, _, left = holders.get(key, ("", 0, 0.0))
            if left > 0:
                self._owners[key] = owner
                self._due[key] = now + left
                self._bare.discard(key)
            elif key not in self._bare:
                self._bare.add(key)
                if self._due.get(key, math.inf) > now:
                    self._due[key] = now + self._ttl / 2  # it was given back, or never held

    def taken(self, key: str, now: float) -> None:
        """Another process says that it has the key now."""
        if key in self._keys:
            self._due[key] = now + self._ttl
            self._owners.pop(key, None)
            self._bare.discard(key)

    def asked(self, keys: Collection[str], now: float) -> None:
        """These were asked for: not again before the next look at the table, unless it shows when they end."""
        for key in keys:
            if self._due.get(key, math.inf) <= now:
                self._due[key] = now + self._ttl / 4

    def elsewhere(self, key: str) -> bool:
        """Whether another process had the key at the last look."""
        return self._owners.get(key, self._owner) != self._owner

    def open(self, now: float, held: int, shut: Collection[str]) -> frozenset[str]:
        """The keys to ask for now, none that is `shut`; with the `held` ones no more than an even share."""
        waiting = [key for key in self._due.keys() - shut if self._turn(key) <= now]
        waiting.sort(key=lambda key: (self._turn(key), natural(key)))
        room = max(0, self._share(now) - held)
        return frozenset(key for place, key in enumerate(waiting) if place < room or self._turn(key, late=True) <= now)

    def next(self, now: float, held: int, shut: Collection[str], proposed: Collection[str]) -> float:
        """When a key may be asked for next, of those that are not `shut`; infinity when none is foreseen."""
        late = held >= self._share(now)
        turns = (
            self._due[key] + FIRST if key in proposed else self._turn(key, late=late) for key in self._due.keys() - shut
        )
        return min(turns, default=math.inf)

    def _turn(self, key: str, *, late: bool = False) -> float:
        """When this process may ask for a key that is not proposed to it; `late`: beyond its share."""
        return self._due[key] + self._patience[key] * (1 if not late else 10)

    def _share(self, now: float) -> int:
        """An even share among the owners whose leases go on, of which this process is one."""
        owners = {owner for key, owner in self._owners.items() if self._due[key] > now}
        return math.ceil(len(self._keys) / len(owners | {self._owner}))
