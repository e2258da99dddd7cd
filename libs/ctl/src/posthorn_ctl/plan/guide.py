"""The scaling guide's own answer: a formula for instances, a matrix by number of users."""

import math
from dataclasses import dataclass

PER_INSTANCE = 10_000
"""Messages an hour that one instance carries."""
HEADROOM = 1.5


@dataclass(frozen=True, slots=True)
class Advice:
    """A row of the matrix, as the guide words it."""

    below: float
    """Users."""
    architecture: str
    storage: str
    instances: str
    cluster: str


MATRIX = (
    Advice(1_000, "single server", "RocksDB", "1", "no"),
    Advice(5_000, "single server", "RocksDB or PostgreSQL", "1", "no"),
    Advice(10_000, "single server", "PostgreSQL, S3", "1", "optional"),
    Advice(50_000, "horizontal", "PostgreSQL, S3, Redis", "3 to 5", "yes"),
    Advice(100_000, "horizontal", "PostgreSQL, S3, Redis", "5 to 10", "yes"),
    Advice(math.inf, "horizontal", "PostgreSQL in shards, S3, Redis", "10 or more", "yes"),
)


def instances(peak_per_hour: int) -> int:
    """Peak by 10,000, half as much again, rounded up; at least one."""
    return max(1, math.ceil(peak_per_hour / PER_INSTANCE * HEADROOM))


def advice(users: int) -> Advice:
    """The row for so many users."""
    return next(row for row in MATRIX if users < row.below)
