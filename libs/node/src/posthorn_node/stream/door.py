"""The door: how many clients may be inside, in all and from one address. What a client hears is not its affair."""

from collections import Counter
from enum import Enum


class Full(Enum):
    """Why a client is not let in."""

    ALL = "too many connections"
    ADDRESS = "too many connections from this address"


class Door:
    """Counts connections; `enter` and `leave` come in pairs. One for a process, as the limits are the process's."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._inside: Counter[str] = Counter()
        self.count = 0

    def enter(self, address: str) -> Full | None:
        """Count a client in; or why not, and it is not counted."""
        if self.count >= self._total:
            return Full.ALL
        if self._inside[address] >= self._per_address:
            return Full.ADDRESS
        self.count += 1
        self._inside[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Count out a client that entered."""
        self.count -= 1
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]
