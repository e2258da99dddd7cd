"""The lookup store as callers see it: keeps its bounds, measures it, and does not wait again and again for one that is
down.

It stores nothing itself. A back end is handed only what is within the bounds of posthorn_model.lookup.
"""

import asyncio
import math
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from typing import TypeAlias, TypeVar

from posthorn_model.errors import Overloaded, PosthornError, Unavailable
from posthorn_model.lookup import (
    MAX_AMOUNT,
    MAX_KEY,
    MAX_KEYS,
    MAX_MEMBER,
    MAX_MEMBERS,
    MAX_SECONDS,
    MAX_VALUE,
    LookupStore,
    Take,
    Taken,
)
from posthorn_model.ports import Clock

T = TypeVar("T")
Told: TypeAlias = Callable[[str, float, str], None]
"""Hears of each call: the operation, the seconds it took, and "ok", "overloaded" or "unavailable"."""
CALL_SECONDS = 2.0
"""One call takes no longer, whatever the back end does."""
REST_AFTER = 3
REST_SECONDS = 0.5
"""After so many calls in a row that found no store the next ones are refused at once for so long.

Those who wait would only pile up. Where a part of a cluster still answers there are seldom so many in a row.
"""
MAX_RATE = 10_000
"""Units a second that a limit may have: buckets count in microseconds."""


class Lookup:
    """The port LookupStore over a back end, which it closes with itself."""

    def __init__(self, backend: LookupStore, clock: Clock, *, call_seconds: float = CALL_SECONDS) -> None:
        self._backend = backend
        self._clock = clock
        self._call_seconds = call_seconds
        self._rests_until = float("-inf")
        self._failures = 0
        self.told: Told | None = None
        """Set by who measures; may not block."""

    async def count(self, key: str, ttl: float, amount: int = 1) -> int:
        """See the port."""
        _check_keys((key,))
        _check_seconds(ttl)
        _check(1 <= amount <= MAX_AMOUNT, "an amount is 1 to 1,000,000,000")
        return await self._call("count", self._backend.count, key, ttl, amount)

    async def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        """See the port."""
        _check_keys(keys)
        return await self._call("counts", self._backend.counts, keys) if keys else {}

    async def take(self, wanted: Sequence[Take]) -> Sequence[Taken]:
        """See the port."""
        _check_keys([take.key for take in wanted])
        _check(len({take.key for take in wanted}) == len(wanted), "a key may be there once")
        for take in wanted:
            _check_seconds(take.period)
            _check(1 <= take.limit <= take.period * MAX_RATE, "a limit is 1 to 10,000 for each second of its period")
            _check(0 <= take.cost <= MAX_AMOUNT, "a cost is 0 to 1,000,000,000")
        possible = [take for take in wanted if take.cost <= take.limit]
        found = iter(await self._call("take", self._backend.take, possible) if possible else ())
        never = Taken(allowed=False, retry_after=math.inf)
        return [next(found) if take.cost <= take.limit else never for take in wanted]

    async def get(self, keys: Collection[str]) -> Mapping[str, bytes]:
        """See the port."""
        _check_keys(keys)
        return await self._call("get", self._backend.get, keys) if keys else {}

    async def put(self, values: Mapping[str, bytes], ttl: float) -> None:
        """See the port."""
        _check_keys(values)
        _check_values(values.values())
        _check_seconds(ttl)
        if values:
            await self._call("put", self._backend.put, values, ttl)

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """See the port."""
        _check_keys((key,))
        _check_values((value,))
        _check_seconds(ttl)
        return await self._call("add", self._backend.add, key, value, ttl)

    async def swap(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """See the port."""
        _check_keys((key,))
        _check_values((expected, value))
        _check_seconds(ttl)
        return await self._call("swap", self._backend.swap, key, expected, value, ttl)

    async def pop(self, key: str) -> bytes | None:
        """See the port."""
        _check_keys((key,))
        return await self._call("pop", self._backend.pop, key)

    async def drop(self, keys: Collection[str]) -> None:
        """See the port."""
        _check_keys(keys)
        if keys:
            await self._call("drop", self._backend.drop, keys)

    async def join(self, key: str, member: str, ttl: float, limit: int) -> int | None:
        """See the port."""
        _check_keys((key,))
        _check_member(member)
        _check_seconds(ttl)
        _check(1 <= limit <= MAX_MEMBERS, "a set has room for 1 to 1000 members")
        return await self._call("join", self._backend.join, key, member, ttl, limit)

    async def leave(self, key: str, member: str) -> None:
        """See the port."""
        _check_keys((key,))
        _check_member(member)
        await self._call("leave", self._backend.leave, key, member)

    async def members(self, key: str) -> frozenset[str]:
        """See the port."""
        _check_keys((key,))
        return await self._call("members", self._backend.members, key)

    async def probe(self) -> str:
        """See the port. It asks also while calls are refused at once, so that a probe ends that time."""
        self._rests_until = float("-inf")
        return await self._call("probe", self._backend.probe)

    async def close(self) -> None:
        """See the port."""
        await self._backend.close()

    async def _call(self, operation: str, work: Callable[..., Awaitable[T]], *arguments: object) -> T:
        begun = self._clock.monotonic()
        outcome = "unavailable"
        try:
            if begun < self._rests_until:
                raise Unavailable("the lookup store does not answer", step=operation, resting=True)
            async with asyncio.timeout(self._call_seconds):
                found = await work(*arguments)
            outcome = "ok"
            self._failures = 0
            return found
        except TimeoutError as error:
            self._failed()
            raise Unavailable("the lookup store does not answer", step=operation, cause="no answer in time") from error
        except PosthornError as error:
            if isinstance(error, Overloaded):
                outcome = "overloaded"
            elif begun >= self._rests_until:
                self._failed()
            raise
        finally:
            if self.told is not None:
                self.told(operation, self._clock.monotonic() - begun, outcome)

    def _failed(self) -> None:
        self._failures += 1
        if self._failures >= REST_AFTER:
            self._rests_until = self._clock.monotonic() + REST_SECONDS


def _check(holds: bool, rule: str) -> None:
    if not holds:
        raise ValueError(rule)


def _check_keys(keys: Collection[str]) -> None:
    _check(len(keys) <= MAX_KEYS, "too many keys in one call")
    for key in keys:
        _check(0 < len(key) <= MAX_KEY and key.isascii() and key.isprintable(), "that is no key: see lookup_key")


def _check_values(values: Collection[bytes]) -> None:
    for value in values:
        _check(len(value) <= MAX_VALUE, "a value has at most 65,536 octets")


def _check_seconds(seconds: float) -> None:
    _check(0.001 <= seconds <= MAX_SECONDS, "a time is a millisecond to 366 days")


def _check_member(member: str) -> None:
    _check(0 < len(member) <= MAX_MEMBER and member.isascii() and member.isprintable(), "that is no name of a member")
