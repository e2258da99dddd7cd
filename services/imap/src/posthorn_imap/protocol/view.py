"""The client's numbering of a mailbox, and how what happened there becomes EXISTS, EXPUNGE and FETCH.

A pure object: it is told what changed and says what the client must hear, when it may hear it (RFC 9051 7.5.1). A
number a client was told stays the number of that message until an EXPUNGE says otherwise.
"""

from array import array
from bisect import bisect_left, bisect_right
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from posthorn_imap.protocol.sets import NumberSet, positions_of_numbers, positions_of_uids


@dataclass(frozen=True, slots=True)
class Expunged:
    """A message is gone. `number` is its sequence number when the response is read."""

    number: int
    uid: int


@dataclass(frozen=True, slots=True)
class Exists:
    """The mailbox has `total` messages now."""

    total: int


@dataclass(frozen=True, slots=True)
class FlagsChanged:
    number: int
    uid: int


Update = Expunged | Exists | FlagsChanged


class View:
    """One session's numbering of one selected mailbox."""

    def __init__(self, uids: Iterable[int]) -> None:
        self._uids = array("I", uids)
        self._gone: set[int] = set()
        self._new: list[int] = []
        self._changed: dict[int, None] = {}

    @property
    def uids(self) -> Sequence[int]:
        """UIDs by position (sequence number - 1), ascending."""
        return self._uids

    @property
    def total(self) -> int:
        return len(self._uids)

    @property
    def stale(self) -> bool:
        """There is something the client has not heard."""
        return bool(self._gone or self._new or self._changed)

    def happened(self, *, new: Sequence[int] = (), changed: Iterable[int] = (), gone: Iterable[int] = ()) -> None:
        """Note what happened in the mailbox; `new` UIDs are ascending and larger than any before."""
        self._new.extend(new)
        for uid in changed:
            self._changed[uid] = None
        for uid in gone:
            self._changed.pop(uid, None)
            if self._position(uid) is not None:
                self._gone.add(uid)
            elif uid in self._new:
                self._new.remove(uid)

    def told(self, uids: Collection[int]) -> None:
        """The client knows the current flags of these: it was just told them, or set them itself silently."""
        for uid in uids:
            self._changed.pop(uid, None)

    def take_updates(self, *, expunges: bool, flags: bool = True) -> list[Update]:
        """What to tell now, in order; without `expunges` or `flags` those wait.

        New messages are numbered from here on.
        """
        found: list[Update] = []
        if expunges and self._gone:
            found.extend(self._expunged())
        if self._new:
            self._uids.extend(self._new)
            self._new.clear()
            found.append(Exists(self.total))
        if self._changed and flags:
            for uid in self._changed:
                position = self._position(uid)
                if position is not None and uid not in self._gone:
                    found.append(FlagsChanged(position + 1, uid))
            self._changed = {}
        return found

    def _expunged(self) -> list[Expunged]:
        """From the highest number down, so that each number is right when it is read."""
        positions = [(bisect_left(self._uids, uid), uid) for uid in sorted(self._gone, reverse=True)]
        if len(positions) > 64:
            gone = self._gone
            self._uids = array("I", (uid for uid in self._uids if uid not in gone))
        else:
            for position, _ in positions:
                del self._uids[position]
        self._gone = set()
        return [Expunged(position + 1, uid) for position, uid in positions]

    def _position(self, uid: int) -> int | None:
        at = bisect_left(self._uids, uid)
        return at if at < len(self._uids) and self._uids[at] == uid else None

    @property
    def last(self) -> int:
        """The largest UID the client knows of; 0 when it knows none."""
        return self._uids[-1] if self._uids else 0

    def uids_after(self, uid: int) -> Sequence[int]:
        """Those larger than `uid`, ascending."""
        return self._uids[bisect_right(self._uids, uid) :]

    def number(self, uid: int) -> int | None:
        """The sequence number of a UID the client knows."""
        position = self._position(uid)
        return None if position is None else position + 1

    def numbers(self, uids: Sequence[int]) -> list[int]:
        """The sequence numbers of UIDs in their order; those that the client does not know are left out."""
        if len(uids) < 64:
            return [number for uid in uids if (number := self.number(uid))]
        known = dict(zip(self._uids, range(1, self.total + 1), strict=True))
        return [known[uid] for uid in uids if uid in known]

    def gone(self, uid: int) -> bool:
        """The message is expunged though the client still numbers it."""
        return uid in self._gone

    def ranges(self, wanted: NumberSet, *, uid: bool, saved: Sequence[int] = ()) -> list[range]:
        """Positions of what the client named, ascending; `saved` UIDs are what "$" stands for.

        Raises SyntaxProblem for sequence numbers that are not in use.
        """
        if wanted.saved:
            known = (self._position(each) for each in saved)
            return [range(position, position + 1) for position in known if position is not None]
        if uid:
            return positions_of_uids(wanted, self._uids)
        return positions_of_numbers(wanted, self.total)

    def chosen(self, wanted: NumberSet, *, uid: bool, saved: Sequence[int] = ()) -> list[tuple[int, int]]:
        """(sequence number, UID) of what the client named, ascending, without messages that are gone."""
        uids, gone = self._uids, self._gone
        return [
            (position + 1, uids[position])
            for each in self.ranges(wanted, uid=uid, saved=saved)
            for position in each
            if uids[position] not in gone
        ]

    def names_gone(self, wanted: NumberSet, *, uid: bool) -> bool:
        """Whether the client named messages that are gone (RFC 5530 EXPUNGEISSUED)."""
        if not self._gone or wanted.saved:
            return False
        uids = self._uids
        return any(uids[position] in self._gone for each in self.ranges(wanted, uid=uid) for position in each)
