"""Records of DNS come again and again; what was read in one is kept with its octets as the key."""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Final, TypeVar

T = TypeVar("T")
RECORDS: Final = 1024
MAX_REMEMBERED: Final = 2048
"""Octets of a record that is remembered: hostile ones are as long as DNS allows."""


def remembering(read: Callable[[bytes], T]) -> Callable[[bytes], T]:
    """Let a pure reader of records remember what it made of the last `RECORDS` of up to `MAX_REMEMBERED` octets.

    Everybody gets the same value, so it must not be changed. What the reader raises is not remembered.
    """
    remembered = lru_cache(RECORDS)(read)

    @wraps(read)
    def reader(record: bytes) -> T:
        return remembered(record) if len(record) <= MAX_REMEMBERED else read(record)

    return reader
