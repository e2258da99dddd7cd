"""Which position of the primary's log (LSN) a server must have replayed before an account may be read from it.

A reader never sees an account go back in time. Of a change whose position is known, the server must have replayed that
much. Of what was seen somewhere else without its position (on the primary, on another replica, an event that names
none), the server must have replayed as much as the primary had written at some moment after that. An account that is
met for the first time counts as seen just then: who reads it knows of it from somewhere, and it may be new.
"""

from collections import OrderedDict
from dataclasses import dataclass
from typing import Final

from posthorn_model.ids import AccountId

MAX_REMEMBERED: Final = 100_000


@dataclass(frozen=True, slots=True)
class Written:
    """What a look at the primary found: how much it had written. `begun` is when the look began (monotonic)."""

    begun: float
    system: int
    """The identifier that all servers of one replication set share."""
    timeline: int
    """It grows with each fail-over."""
    position: int

    def text(self) -> str:
        """As events carry it."""
        return f"{self.system}/{self.timeline}/{self.position}"

    def position_in(self, text: str) -> int | None:
        """The position in an event's text; None when it has none, or one of another set or timeline."""
        words = text.split("/")
        if len(words) != 3 or not all(word.isascii() and word.isdigit() and len(word) <= 20 for word in words):
            return None
        system, timeline, position = map(int, words)
        return position if (system, timeline) == (self.system, self.timeline) else None


@dataclass(slots=True)
class _Known:
    seen: float
    """When something of unknown position was seen or done."""
    needed: int = 0
    at: object = None
    """Where that was; a server is never behind what was seen on itself."""


class Positions:
    """What this process remembers of the accounts it met lately; those it forgot are met for the first time again."""

    def __init__(self, limit: int = MAX_REMEMBERED) -> None:
        self._limit = limit
        self._known: OrderedDict[AccountId, _Known] = OrderedDict()

    def clear(self) -> None:
        """After a fail-over: old positions mean nothing."""
        self._known.clear()

    def changed(self, account: AccountId, position: int, now: float) -> None:
        """A change of the account is in the log at `position` or before."""
        known = self._entry(account, now)
        known.needed = max(known.needed, position)

    def seen(self, account: AccountId, now: float) -> None:
        """The account was read on the primary, or heard to have changed, by this time."""
        known = self._entry(account, now)
        known.seen, known.at = now, None

    def read(self, account: AccountId, at: object, begun: float, now: float, replayed: int) -> None:
        """The account was read on a replica that had replayed so much; what was seen elsewhere meanwhile stays seen."""
        known = self._entry(account, now)
        known.at = at if known.at is at or known.seen < begun else None
        known.seen = now
        known.needed = max(known.needed, replayed)

    def needed(self, account: AccountId, at: object, written: Written, now: float) -> int | None:
        """How much the server `at` must have replayed; None when no look at the primary was late enough to tell."""
        known = self._entry(account, now)
        if known.at is at:
            return known.needed
        return max(known.needed, written.position) if written.begun > known.seen else None

    def _entry(self, account: AccountId, now: float) -> _Known:
        known = self._known.get(account)
        if known is None:
            known = self._known[account] = _Known(now)
            if len(self._known) > self._limit:
                self._known.popitem(last=False)
        else:
            self._known.move_to_end(account)
        return known
