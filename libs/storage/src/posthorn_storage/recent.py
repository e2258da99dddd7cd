"""Answers that may be a little old: bounded in number and age, and dropped when something changed."""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable
from typing import Generic, TypeVar

KeyT = TypeVar("KeyT")
ValueT = TypeVar("ValueT")


class Recent(Generic[KeyT, ValueT]):
    """At most `most` answers, each for `seconds` of `monotonic`; those remembered longest ago go first.

    An answer that was on its way while anything was forgotten may be from before the change, so it is not remembered:
    take `mark` before the question, and give it back with the answer.
    """

    def __init__(self, monotonic: Callable[[], float], seconds: float, most: int) -> None:
        self._monotonic = monotonic
        self._seconds = seconds
        self._most = most
        self._known: OrderedDict[KeyT, tuple[float, ValueT]] = OrderedDict()
        self.mark = 0
        """How often something was forgotten."""

    def __len__(self) -> int:
        return len(self._known)

    def fresh(self, keys: Iterable[KeyT]) -> dict[KeyT, ValueT]:
        """The answers for those of the keys that have one."""
        now = self._monotonic()
        return {key: known[1] for key in keys if (known := self._known.get(key)) is not None and known[0] > now}

    def remember(self, key: KeyT, value: ValueT, mark: int) -> None:
        """Keep an answer to a question asked at `mark`."""
        if mark != self.mark:
            return
        self._known[key] = self._monotonic() + self._seconds, value
        self._known.move_to_end(key)
        while len(self._known) > self._most:
            self._known.popitem(last=False)

    def forget(self, keys: Collection[KeyT] | None = None) -> None:
        """Drop the answers for some keys, or all."""
        if keys is None:
            self._known.clear()
        elif not keys:
            return
        else:
            for key in keys:
                self._known.pop(key, None)
        self.mark += 1
