"""What a client believes of a mailbox, by nothing but what the server has said; every line is checked against it.

Sequence numbers are places in `uids`; a place whose UID has not been told yet is 0. New messages stand at the end, and
UIDs ascend (RFC 9051 2.3.1).
"""

import re
from dataclasses import dataclass, field

from posthorn_testkit.dovecot import values

_SILENT = (b"FETCH", b"STORE", b"SEARCH")
"""No message may be expunged while one of these is answered (RFC 9051 7.5.1)."""
_VANISHED = re.compile(rb"VANISHED (\(EARLIER\) )?(\S+)$")
_NUMBERED = re.compile(rb"(\d+) (EXISTS|EXPUNGE|FETCH)(?: (.*))?$", re.DOTALL)

Flags = frozenset[str]


@dataclass(frozen=True, slots=True)
class Sight:
    """What a FETCH told of one message."""

    uid: int
    modseq: int | None
    flags: Flags | None
    header: bytes | None


def numbers_of(text: bytes) -> list[int]:
    """A sequence set, spelled out."""
    found: list[int] = []
    for each in filter(None, text.split(b",")):
        first, _, last = each.partition(b":")
        low, high = sorted((int(first), int(last or first)))
        found += range(low, high + 1)
    return found


@dataclass(slots=True)
class Mirror:
    """One mailbox as one client sees it."""

    uids: list[int] = field(default_factory=list)
    flags: dict[int, Flags] = field(default_factory=dict)
    modseqs: dict[int, int] = field(default_factory=dict)

    def take(self, verb: bytes, line: bytes) -> Sight | None:
        """Learn from an untagged line that came while `verb` was answered. Raises AssertionError when it cannot be."""
        if vanished := _VANISHED.match(line):
            earlier = vanished[1] is not None
            assert earlier or not verb.startswith(_SILENT), (verb, line)
            for uid in numbers_of(vanished[2]):
                self._vanish(uid, earlier=earlier)
            return None
        numbered = _NUMBERED.match(line)
        if numbered is None:
            return None
        number = int(numbered[1])
        match numbered[2]:
            case b"EXISTS":
                assert number >= len(self.uids), f"EXISTS {number} where {len(self.uids)} are known: {verb!r}"
                self.uids += [0] * (number - len(self.uids))
            case b"EXPUNGE":
                assert not verb.startswith(_SILENT), (verb, line)
                assert 1 <= number <= len(self.uids), f"EXPUNGE {number} of {len(self.uids)}"
                self._forget(self.uids.pop(number - 1))
            case _:
                return self._fetched(number, numbered[3])
        return None

    def _fetched(self, number: int, text: bytes) -> Sight:
        (items,) = values(text)
        assert isinstance(items, list)
        found = dict(zip(items[::2], items[1::2], strict=True))  # type: ignore[arg-type]
        assert 1 <= number <= len(self.uids), f"FETCH {number} of {len(self.uids)}"
        uid = found.get(b"UID") or self.uids[number - 1]
        assert isinstance(uid, int)
        self._place(number, uid)
        told, changed = found.get(b"FLAGS"), found.get(b"MODSEQ")
        flags = None
        if isinstance(told, list):
            flags = frozenset(each.decode() for each in told if isinstance(each, bytes)) - {"\\Recent"}
        modseq = changed[0] if isinstance(changed, list) and isinstance(changed[0], int) else None
        if uid and modseq is not None:
            assert modseq >= self.modseqs.get(uid, 0), f"MODSEQ of UID {uid} went back to {modseq}"
            if flags is not None:
                self.flags[uid] = flags
            elif modseq != self.modseqs.get(uid):
                self.flags.pop(uid, None)
            self.modseqs[uid] = modseq
        header = found.get(b"BODY[HEADER]")
        return Sight(uid, modseq, flags, header if isinstance(header, bytes) else None)

    def _place(self, number: int, uid: int) -> None:
        known = self.uids[number - 1]
        assert known in (0, uid), f"message {number} was UID {known} and is now {uid}"
        before = self.uids[number - 2] if number > 1 else 0
        after = self.uids[number] if number < len(self.uids) else 0
        assert before < uid or not uid, f"UID {uid} behind {before}"
        assert not after or uid < after, f"UID {uid} before {after}"
        self.uids[number - 1] = uid

    def _vanish(self, uid: int, *, earlier: bool) -> None:
        if uid in self.modseqs or uid in self.uids:
            self.uids.remove(uid)
            self._forget(uid)
        elif not earlier:
            # One whose UID was not told yet: those between the same neighbours are alike.
            place = next((index for index, known in enumerate(self.uids) if known > uid), len(self.uids))
            assert self.uids[place - 1 : place] == [0], f"VANISHED {uid}, which is not there"
            del self.uids[place - 1]

    def _forget(self, uid: int) -> None:
        self.flags.pop(uid, None)
        self.modseqs.pop(uid, None)
