"""THREAD=REFERENCES: the algorithm of RFC 5256 3, its six steps in their order.

Work and memory are bounded: who makes messages name each other in ever new ways is told that it is too much.
"""

from collections.abc import Sequence

from posthorn_imap.protocol.threads import Forest, ThreadFacts

MAX_NAMES = 500_000
"""Message-IDs that no message of the search bears, but some name."""
MAX_STEPS = 10_000_000
"""Looks for loops, counted by the messages passed."""


class TooEntangled(Exception):
    """These messages cannot be threaded within bounds."""


def by_references(facts: Sequence[ThreadFacts]) -> Forest:
    """Threads by the messages that messages name, then by subject. Raises TooEntangled."""
    links = _Links(facts)
    for place, each in enumerate(facts):
        links.add(place, each.references)
    return _Threads(facts, links.parents).forest()


class _Links:
    """Steps 1 and 2: who is whose parent. Places beyond the messages are dummies; -1: nobody."""

    def __init__(self, facts: Sequence[ThreadFacts]) -> None:
        self.parents = [-1] * len(facts)
        self._families = bytearray(len(facts))  # 1: may have children
        self._places: dict[str, int] = {}
        self._most = len(facts) + MAX_NAMES
        self._steps = 0
        for place, each in enumerate(facts):
            if each.id is not None:
                # A second message with the same Message-ID is known by none (RFC 5256 3, step 1).
                self._places.setdefault(each.id, place)

    def add(self, place: int, references: Sequence[str]) -> None:
        """Link what a message names (1.A), and the message to the last of it (1.B)."""
        above = -1
        for name in references:
            named = self._place(name)
            if above >= 0 and self.parents[named] < 0:
                self._link(above, named)
            above = named
        self.parents[place] = -1  # whatever a truncated References field of another message said
        if above >= 0:
            self._link(above, place)

    def _place(self, name: str) -> int:
        place = self._places.get(name)
        if place is None:
            place = self._places[name] = len(self.parents)
            if place >= self._most:
                raise TooEntangled
            self.parents.append(-1)
            self._families.append(0)
        return place

    def _link(self, parent: int, child: int) -> None:
        if parent == child or (self._families[child] and self._descends(parent, child)):
            return
        self.parents[child] = parent
        self._families[parent] = 1

    def _descends(self, place: int, ancestor: int) -> bool:
        """Whether `ancestor` stands above `place`: then a link the other way would make a loop."""
        parents, steps = self.parents, 0
        while place >= 0 and place != ancestor:
            place = parents[place]
            steps += 1
        self._steps += steps
        if self._steps > MAX_STEPS:
            raise TooEntangled
        return place == ancestor


class _Threads:
    """Steps 3 to 6, over the children of each place."""

    def __init__(self, facts: Sequence[ThreadFacts], parents: Sequence[int]) -> None:
        self._facts = facts
        self._known = len(facts)
        self._dummies = len(parents)
        self._children: dict[int, list[int]] = {}
        self._roots: list[int] = []
        for place, parent in enumerate(parents):
            (self._children.setdefault(parent, []) if parent >= 0 else self._roots).append(place)

    def forest(self) -> Forest:
        self._prune()
        for root in self._roots:
            if root >= self._known:
                self._sort(self._children[root])
        self._sort(self._roots)
        self._gather()
        for siblings in self._children.values():
            self._sort(siblings)
        self._sort(self._roots)
        return Forest(self._facts, self._roots, self._children)

    # Step 3

    def _prune(self) -> None:
        """Take out dummies: their children move up, but several do not become roots."""
        for place in self._upwards():
            below = self._children.pop(place, None)
            if below is not None and (kept := self._promoted(below)):
                self._children[place] = kept
        roots: list[int] = []
        for root in self._roots:
            if root < self._known:
                roots.append(root)
            elif len(below := self._children.get(root, [])) == 1:
                roots.extend(self._children.pop(root))
            elif below:
                roots.append(root)
        self._roots = roots

    def _upwards(self) -> list[int]:
        """All places, each after those below it."""
        order = list(self._roots)
        for place in order:  # it grows while it is gone through
            order.extend(self._children.get(place, ()))
        order.reverse()
        return order

    def _promoted(self, places: Sequence[int]) -> list[int]:
        """The messages among the children, and those below the dummies among them, which have been pruned before."""
        found: list[int] = []
        for place in places:
            if place < self._known:
                found.append(place)
            else:
                found.extend(self._children.pop(place, ()))
        return found

    # Steps 4 and 6

    def _order(self, place: int) -> tuple[float, int]:
        """By the sent date; a dummy's is that of its first child, which is sorted by then."""
        fact = self._facts[self._first(place)]
        return fact.sent, fact.number

    def _first(self, place: int) -> int:
        return place if place < self._known else self._children[place][0]

    def _sort(self, places: list[int]) -> None:
        if len(places) > 1:
            places.sort(key=self._order)

    # Step 5

    def _gather(self) -> None:
        """Merge threads of one subject."""
        table: dict[bytes, int] = {}
        for root in self._roots:
            subject = self._subject(root)
            if subject and self._is_better(root, table.setdefault(subject, root)):
                table[subject] = root
        moved: set[int] = set()
        made: list[int] = []
        for root in self._roots:
            subject = self._subject(root)
            known = table.get(subject, root)
            if known == root or root in moved:
                continue
            if self._merge(root, known):
                moved.add(root)
                continue
            dummy = self._dummies + len(made)
            self._children[dummy] = [known, root]
            moved.update((known, root))
            made.append(dummy)
            table[subject] = dummy
        self._roots = [root for root in self._roots if root not in moved] + made

    def _subject(self, root: int) -> bytes:
        return self._facts[self._first(root)].subject

    def _is_better(self, root: int, known: int) -> bool:
        """Whether a thread stands for its subject rather than the one met before (5.B)."""
        if root == known or known >= self._known:
            return False
        return root >= self._known or (self._facts[known].reply and not self._facts[root].reply)

    def _merge(self, root: int, known: int) -> bool:
        """Put a thread below the one that stands for its subject, if it may (5.C); else both need a dummy above."""
        if known >= self._known:
            self._children[known].extend(self._children.pop(root) if root >= self._known else [root])
            return True
        if self._facts[root].reply and not self._facts[known].reply:
            self._children.setdefault(known, []).append(root)
            return True
        return False
