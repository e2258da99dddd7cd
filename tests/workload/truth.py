"""What all clients together know of an account: what was acknowledged, and what anybody has ever seen of a message.

Four things always hold: a UID is never used again, its content never changes, an unchanged mod-sequence means unchanged
flags, and what was expunged never returns. Each client has a keyword of its own that nobody else touches, so
what it must be is known from its owner's answers alone.
"""

from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from tests.workload.mirror import Flags

Key = tuple[bytes, int]
"""The mailbox and a UID; no mailbox is made anew here."""


@dataclass(slots=True)
class Own:
    """A client's keyword on one message: set or not, from this mod-sequence on; None while that is not known."""

    state: bool | None = None
    since: int = 0


@dataclass(slots=True)
class Truth:
    """Judges what is seen. Its methods raise AssertionError for what cannot be."""

    seen: dict[Key, dict[int, Flags]] = field(default_factory=lambda: defaultdict(dict))
    content: dict[Key, str] = field(default_factory=dict)
    here: dict[bytes, set[int]] = field(default_factory=lambda: defaultdict(set))
    """UIDs that were acknowledged, and not seen to be gone, by mailbox."""
    gone: set[Key] = field(default_factory=set)
    """Expunged, and acknowledged or told."""
    doubtful: Counter[Key] = field(default_factory=Counter)
    """How many commands that expunge it have not been answered, or never will be."""
    unanswered: set[str] = field(default_factory=set)
    """Words of messages that were stored or copied by a command that was not answered."""
    validity: dict[bytes, int] = field(default_factory=dict)
    highest: Counter[bytes] = field(default_factory=Counter)
    """The highest mod-sequence anybody was told of, by mailbox."""
    own: dict[Key, dict[str, Own]] = field(default_factory=lambda: defaultdict(dict))
    """By message and keyword."""
    counts: Counter[str] = field(default_factory=Counter)
    """How often what was done and checked."""

    def stored(self, mailbox: bytes, uid: int, word: str) -> None:
        """A message has been acknowledged, or seen."""
        key = (mailbox, uid)
        assert self.content.setdefault(key, word) == word, f"UID {uid} was {self.content[key]} and is {word}"
        if key not in self.gone:
            self.here[mailbox].add(uid)

    def expunged(self, mailbox: bytes, uid: int) -> None:
        self.gone.add((mailbox, uid))
        self.here[mailbox].discard(uid)

    def may_be_gone(self, key: Key) -> bool:
        """Somebody has expunged it, or is about to hear that it is."""
        return key in self.gone or self.doubtful[key] > 0

    def answered(self, keys: Sequence[Key], mirror: Sequence[int]) -> None:
        """A command that expunges has been answered: its client was told so, unless another one did it as well."""
        for key in keys:
            alone = key not in self.gone and self.doubtful[key] == 1
            assert not alone or key[1] not in mirror, f"UID {key[1]} was expunged and is not told to be"
            self.doubtful[key] -= 1
            self.expunged(*key)

    def flags(self, mailbox: bytes, uid: int, modseq: int, flags: Flags) -> None:
        """Somebody was told of a message's flags at a mod-sequence."""
        key = (mailbox, uid)
        before = self.seen[key].setdefault(modseq, flags)
        assert before == flags, f"UID {uid} at {modseq} had {sorted(before)} and has {sorted(flags)}"
        self.highest[mailbox] = max(self.highest[mailbox], modseq)
        for word, own in self.own[key].items():
            if own.state is not None and modseq >= own.since:
                assert (word in flags) == own.state, f"{word} on UID {uid} at {modseq}: {sorted(flags)}, {own}"
        self.counts["flags seen"] += 1

    def begins(self, mailbox: bytes, uid: int, word: str) -> Own:
        """The owner of a keyword is about to change it: until its answer nothing is known."""
        own = self.own[mailbox, uid].setdefault(word, Own())
        own.state = None
        return own

    def opened(self, mailbox: bytes, codes: Mapping[bytes, int]) -> None:
        """What SELECT said of a mailbox."""
        told = codes[b"UIDVALIDITY"]
        assert self.validity.setdefault(mailbox, told) == told, f"UIDVALIDITY was {self.validity[mailbox]}, is {told}"

    def view(self, mailbox: bytes, uids: set[int], gone_before: set[Key], here_before: set[int]) -> None:
        """A mailbox as it was opened, after `gone_before` was gone and `here_before` had been acknowledged."""
        back = {uid for uid in uids if (mailbox, uid) in gone_before}
        assert not back, f"expunged and here again: {sorted(back)}"
        # What is not here must have been expunged, at least by somebody who has not got the answer yet.
        missing = {uid for uid in here_before - uids if not self.may_be_gone((mailbox, uid))}
        assert not missing, f"acknowledged and not here: {sorted(missing)}"
        self.counts["views checked"] += 1
