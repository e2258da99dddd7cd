"""How much one document may cost."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """Limits of one document. The first group ends reading with the text found so far; the second ends the worker."""

    characters: int = 1_048_576
    """Of text kept."""
    expanded_octets: int = 67_108_864
    """What all members of a package may unpack to."""
    members: int = 5_000
    """Members of a package that are read (slides, sheets)."""
    pages: int = 2_000
    seconds: float = 10.0
    """Looked at between pages and between pieces of a member."""

    input_octets: int = 33_554_432
    """A larger document is refused unread."""
    cpu_seconds: int = 20
    """Of processor time, by the kernel's clock (RLIMIT_CPU)."""
    wall_seconds: float = 40.0
    memory_octets: int = 805_306_368
    """Address space of the worker (RLIMIT_AS); the interpreter with all readers takes about 50 MiB of it."""


DEFAULT = Limits()
