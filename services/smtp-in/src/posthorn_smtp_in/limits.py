"""The door: how many clients are inside, in all and from one address. A refused one hears 421 and costs no task."""

from collections import Counter

from posthorn_smtp_in.protocol.replies import Reply, reply

FULL = reply(421, "4.3.2", "Too many connections, try again later")
FULL_FOR_ADDRESS = reply(421, "4.7.0", "Too many connections from your address, try again later")


class Door:
    """Counts connections; `enter` and `leave` come in pairs. One for the process, as limits are the process's."""

    def __init__(self, total: int, per_address: int) -> None:
        self._total = total
        self._per_address = per_address
        self._inside: Counter[str] = Counter()
        self.count = 0

    def enter(self, address: str) -> Reply | None:
        """Count a client in; or the refusal, and it is not counted."""
        if self.count >= self._total:
            return FULL
        if address and self._inside[address] >= self._per_address:
            return FULL_FOR_ADDRESS
        self.count += 1
        self._inside[address] += 1
        return None

    def leave(self, address: str) -> None:
        """Count out a client that entered."""
        self.count -= 1
        self._inside[address] -= 1
        if not self._inside[address]:
            del self._inside[address]
