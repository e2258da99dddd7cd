"""The lookup store: counters, rate limits and other short-lived state that all processes of a cluster share.

Whatever is in it may be forgotten at any moment (a crash, a fail-over, a full memory): what must not be lost belongs
in a table of the data store. Its answers are hints for limits, never decisions about mail. When it does not answer it
says so within seconds, and whether to go on without it is the caller's decision.
"""

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol
from urllib.parse import quote

MAX_KEY: Final = 200
"""Octets of a key. Make keys with `lookup_key`: it never makes a longer one."""
MAX_VALUE: Final = 65_536
"""Octets of a value."""
MAX_KEYS: Final = 1000
"""Keys of one call."""
MAX_MEMBERS: Final = 1000
"""Members of one set."""
MAX_MEMBER: Final = 200
"""Octets of a member's name."""
MAX_SECONDS: Final = 366 * 86_400.0
"""The longest time that anything is kept, and the longest period of a limit."""
MAX_AMOUNT: Final = 1_000_000_000


def lookup_key(space: str, *parts: str) -> str:
    """One key of a name space ("login", "greylist") for parts of any content and length.

    Different parts never make the same key: each is percent-encoded, and what would be too long becomes its SHA-256.
    """
    key = "/".join((space, *(quote(part, safe="@:+=", errors="surrogatepass") for part in parts)))
    if len(key) <= MAX_KEY:
        return key
    return f"{space}/*{hashlib.sha256(key.encode()).hexdigest()}"


@dataclass(frozen=True, slots=True)
class Take:
    """So much is wanted of a limit: `limit` units in every `period` (seconds), all at once at the most."""

    key: str
    limit: int
    period: float
    cost: int = 1
    """0 takes nothing and asks whether one unit would be allowed."""


@dataclass(frozen=True, slots=True)
class Taken:
    """Whether it was allowed; if not, nothing was taken, and it would be after `retry_after` seconds.

    `retry_after` is infinite when the cost is above the limit itself.
    """

    allowed: bool
    retry_after: float = 0.0


class LookupStore(Protocol):
    """Each method is atomic per key, one round trip, and judges expiry by the store's own clock; times in seconds.

    Counters, limits, values and sets have name spaces of their own: one key may name one of each. All raise
    Unavailable (it is then unknown whether a change was made), Overloaded, and ValueError for keys, values and numbers
    beyond the bounds above.
    """

    async def count(self, key: str, ttl: float, amount: int = 1) -> int:
        """Add to a counter and return its sum. The counter ends `ttl` after the first addition, not the last."""
        ...

    async def counts(self, keys: Collection[str]) -> Mapping[str, int]:
        """The sums of those counters that have not ended."""
        ...

    async def take(self, wanted: Sequence[Take]) -> Sequence[Taken]:
        """Take from limits, each a token bucket: full it allows `limit` at once, and it fills evenly in `period`.

        Each key may be there once. Each limit is judged for itself: one may allow what another refuses.
        """
        ...

    async def get(self, keys: Collection[str]) -> Mapping[str, bytes]:
        """The values that have not ended."""
        ...

    async def put(self, values: Mapping[str, bytes], ttl: float) -> None:
        """Set values, whatever was there."""
        ...

    async def add(self, key: str, value: bytes, ttl: float) -> bytes | None:
        """Set a value if there is none, and return None; else return what is there, unchanged."""
        ...

    async def swap(self, key: str, expected: bytes, value: bytes, ttl: float) -> bool:
        """Set a value, with a new end, if the present one is `expected`; whether it was."""
        ...

    async def pop(self, key: str) -> bytes | None:
        """Remove a value and return it: of many who ask at once only one gets it."""
        ...

    async def drop(self, keys: Collection[str]) -> None:
        """Forget the counters, limits, values and sets of these keys."""
        ...

    async def join(self, key: str, member: str, ttl: float, limit: int) -> int | None:
        """Be in a set for `ttl` from now on; returns its size with this member, None when it is full without it.

        Joining again renews the time. Who does not is out when the time ends, so a crash leaves nothing behind.
        """
        ...

    async def leave(self, key: str, member: str) -> None:
        """Be out of a set."""
        ...

    async def members(self, key: str) -> frozenset[str]:
        """Who is in a set now."""
        ...

    async def probe(self) -> str:
        """Prove that the store takes writes; returns a text for people."""
        ...

    async def close(self) -> None: ...
