"""Nouns of MTA-STS (RFC 8461): what a domain promises about its mail exchangers."""

from dataclasses import dataclass
from typing import Literal, TypeAlias

Mode: TypeAlias = Literal["enforce", "testing", "none"]


@dataclass(frozen=True, slots=True)
class StsPolicy:
    """A policy as it is served (RFC 8461 3.2)."""

    mode: Mode
    mx: tuple[str, ...]
    """Patterns in lower case: a host name, or "*." and a domain."""
    max_age: int
    """Seconds."""

    def lines(self) -> tuple[str, ...]:
        """As it is told in reports (RFC 8460 4.4)."""
        return (
            "version: STSv1",
            f"mode: {self.mode}",
            *(f"mx: {pattern}" for pattern in self.mx),
            f"max_age: {self.max_age}",
        )
