"""How large a script may be, and how much one run of it may do."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """The bounds of scripts and runs; each is checked, none is a hint."""

    script_size: int = 131_072
    """Octets of one script."""
    nesting: int = 32
    """Blocks in blocks, and tests in tests (RFC 5228 2.1: at least 15)."""
    includes: int = 10
    """Scripts that include each other in a chain (RFC 6609 3)."""
    steps: int = 50_000
    """Commands, tests and comparisons of one run; long texts count more than once."""
    seconds: float = 2.0
    """Time of one run."""
    actions: int = 64
    redirects: int = 5
    """Addresses that one run may send the message on to (RFC 5228 10)."""
    notifications: int = 5
    duplicates: int = 16
    """Different keys that one run may ask the memory of duplicates for (RFC 7352)."""
    variables: int = 256
    variable_length: int = 8_192
    """Characters of one variable; a longer value is cut (RFC 5229 6: at least 4,000)."""
    text_length: int = 65_536
    """Characters of any other text a run makes."""
    edits: int = 100
    """Header fields that a run may add or delete, and parts it may replace."""
    content_growth: int = 1_048_576
    """Octets that edits may add to the message."""
    regex_length: int = 2_048
    regex_memory: int = 1_048_576
    """Octets that one compiled regular expression may take."""
    keys: int = 1_000
    """Strings in one list."""


DEFAULT = Limits()
