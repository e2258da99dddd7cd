"""Change notices for waiting clients: bus events in, wake-ups out (flows B).

The bus is only a hint: after a gap, and every `self_check` seconds whatever the bus says, the modseqs of all watched
accounts are read in one query and a difference counts as an event.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

import structlog

from posthorn_model.errors import PosthornError
from posthorn_model.events import Changed, ChangeKind, Gap, Topic
from posthorn_model.ids import AccountId, Modseq
from posthorn_model.ports import Bus
from posthorn_storage import Storage


class Watch:
    """One waiting client of one account: `changed` is set when kinds of objects changed, up to `modseq`."""

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self._kinds: set[ChangeKind] = set()
        self._modseq = Modseq(0)

    def notice(self, modseq: Modseq, kinds: Iterable[ChangeKind]) -> None:
        """Remember what changed and wake the client."""
        self._kinds.update(kinds)
        self._modseq = max(self._modseq, modseq)
        self.changed.set()

    def take(self) -> tuple[Modseq, frozenset[ChangeKind]]:
        """What changed since this was last asked."""
        found = self._modseq, frozenset(self._kinds)
        self._kinds.clear()
        self.changed.clear()
        return found


class Watchers:
    """All waiting clients of this process."""

    def __init__(
        self, storage: Storage, bus: Bus, log: structlog.typing.FilteringBoundLogger, missed: Callable[[int], None]
    ) -> None:
        self._storage = storage
        self._bus = bus
        self._log = log
        self._missed = missed
        self._watches: dict[AccountId, set[Watch]] = {}
        self._known: dict[AccountId, Modseq] = {}

    @contextmanager
    def watching(self, account: AccountId, since: Modseq) -> Iterator[Watch]:
        """Wake the watch at changes of the account after `since` while the block runs."""
        watch = Watch()
        self._watches.setdefault(account, set()).add(watch)
        self._known.setdefault(account, since)
        try:
            yield watch
        finally:
            self._watches[account].discard(watch)
            if not self._watches[account]:
                del self._watches[account]
                self._known.pop(account, None)

    def count(self, account: AccountId) -> int:
        """How many clients wait for this account."""
        return len(self._watches.get(account, ()))

    @property
    def open(self) -> int:
        """How many clients wait at all."""
        return sum(map(len, self._watches.values()))

    async def listen(self) -> None:
        """Hear the bus for ever."""
        async for event in self._bus.subscribe(Topic.CHANGES):
            if isinstance(event, Gap):
                await self.compare()
            elif isinstance(event, Changed):
                self._moved(event.account, event.modseq, event.kinds)

    async def check_on(self, seconds: float) -> None:
        """Compare with the database every so often, for ever; what only this finds is counted."""
        while True:
            await asyncio.sleep(seconds)
            self._missed(await self.compare())

    async def compare(self) -> int:
        """Read the modseqs of all watched accounts; wakes those that moved and returns how many that were."""
        accounts = list(self._watches)
        if not accounts:
            return 0
        try:
            current = await self._storage.mail.modseqs(accounts)
        except PosthornError as error:
            self._log.warning("cannot compare modseqs", reason=error.public)
            return 0
        return sum(self._moved(account, modseq, tuple(ChangeKind)) for account, modseq in current.items())

    def _moved(self, account: AccountId, modseq: Modseq, kinds: Iterable[ChangeKind]) -> bool:
        """Wake the account's watches at news."""
        if account not in self._watches or modseq <= self._known.get(account, 0):
            return False
        self._known[account] = modseq
        for watch in self._watches[account]:
            watch.notice(modseq, kinds)
        return True
