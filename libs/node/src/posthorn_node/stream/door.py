"""The door: how many clients may be inside, in all and from one address. What a client hears is not its affair."""

from collections import Counter
from enum import Enum

from posthorn_node.bans import Bans


class Full(Enum):
    """Why a client is not let in."""

    ALL = "too many connections"
    ADDRESS = "too many connections from this address"
    BANNED = "banned"


class Door:
    """Counts connections; `enter` and `leave` come in pairs. One for a process, as the limits are the process's.

    Who is banned by `bans` does not come in at all.
    """

    def __init__(self, total: int, per_address: int, bans: Bans | None = None) -> None:
        self._bans = bans
        self._total = total
        self._per_address = per_address
        self._inside: Counter[str] = Counter()
        self.count = 0

    def become(self, total: int, per_address: int) -> None:
        """These limits from now on; nobody who is inside is sent away."""
        self._total = total
        self._per_address = per_address

    def enter(self, address: str) -> Full | None:
        """Count a client in; or why not, and it is not counted."""
        if self._bans is not None and self._bans.hold(address):
            return Full.BANNED
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
