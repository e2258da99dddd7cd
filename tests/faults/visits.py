"""Which connections a site had, from whom and when: written down one by one, and counted afterwards.

A connection is over when the client has closed it, as the site's machine hears of it, though the site may be busy with
something else. What a process left open when it was killed or stopped is nobody's doing: it is counted apart.
"""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field
from math import inf

SETTLED = 0.02
"""Seconds after which a new connection counts: what was closed before it was opened has been heard of by then."""


@dataclass(slots=True)
class Visit:
    """One connection. Times are the event loop's, in seconds."""

    site: str
    node: int
    opened: float
    closed: float = inf
    struck: float = inf
    """From when on its process could not close it any more."""

    def end(self, now: float) -> None:
        """It is over; the first who says so is right."""
        self.closed = min(self.closed, now)

    def there(self, at: float, *, struck: bool) -> bool:
        """Whether it was open at a time; `struck`: also when its process could not do anything about it."""
        return self.opened <= at < self.closed and (struck or at < self.struck)


@dataclass(frozen=True, slots=True)
class Crowd:
    """The connections that a site had at once."""

    at: float = 0.0
    visits: tuple[Visit, ...] = ()

    def story(self, begun: float) -> str:
        """For people, in seconds since `begun`."""
        if not self.visits:
            return "nobody came"
        each = ", ".join(
            f"node {visit.node} {visit.opened - begun:.3f}-{visit.closed - begun:.3f}"
            + (f" (struck at {visit.struck - begun:.3f})" if visit.struck < inf else "")
            for visit in self.visits
        )
        return f"{self.visits[0].site} at {self.at - begun:.3f} s: {each}"


@dataclass(slots=True)
class Visits:
    """All there were."""

    _of: defaultdict[str, list[Visit]] = field(default_factory=lambda: defaultdict(list))

    def add(self, visit: Visit) -> None:
        self._of[visit.site].append(visit)

    def strike(self, node: int, now: float) -> None:
        """What this node has open now it cannot close."""
        for visits in self._of.values():
            for visit in visits:
                if visit.node == node and visit.there(now, struck=False):
                    visit.struck = now

    def largest(self, *, struck: bool = False) -> Crowd:
        """The most that one site had at once."""
        return max(self._crowds(struck), key=lambda crowd: len(crowd.visits), default=Crowd())

    def _crowds(self, struck: bool) -> Iterator[Crowd]:
        for visits in self._of.values():
            for visit in visits:
                at = visit.opened + SETTLED
                yield Crowd(at, tuple(other for other in visits if other.there(at, struck=struck)))
