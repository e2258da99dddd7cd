"""Which mailboxes are watched, and what wakes their sessions (flows.md B).

An event is a hint: the mailbox is read again and the difference is told. A gap in the events, and every 30 seconds
whatever the events say, one query looks at the modseqs of all watched accounts.
"""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any

from structlog.typing import FilteringBoundLogger

from posthorn_imap.feed import Feed, Listener
from posthorn_imap.places import Place
from posthorn_imap.watched import WatchedAccount
from posthorn_model.errors import MailboxNotFound, PosthornError
from posthorn_model.events import Changed, Gap, Topic
from posthorn_model.ids import AccountId, MailboxId, Modseq
from posthorn_model.ports import Bus
from posthorn_storage.mail_store import MailStore

MAX_RESTING = 64
"""Mailboxes that nobody has selected, kept for who comes back soon."""
MAX_RESTING_ENTRIES = 200_000
_RETRY = (0.2, 0.5, 1.0, 2.0, 5.0)

Start = Callable[[str, Coroutine[Any, Any, None]], object]


class Changes:
    """All feeds of a process. `start` runs a named background task; `found_late` counts what only self-checks found."""

    def __init__(
        self, mail: MailStore, log: FilteringBoundLogger, start: Start, found_late: Callable[[int], None]
    ) -> None:
        self._mail = mail
        self._log = log
        self._start = start
        self._found_late = found_late
        self._feeds: dict[AccountId, dict[MailboxId, Feed]] = {}
        self._resting: OrderedDict[Place, Feed] = OrderedDict()
        self._following: set[Feed] = set()
        self._watched: dict[AccountId, WatchedAccount] = {}

    # Sessions

    async def join(self, place: Place) -> Feed:
        """The mailbox, read up to now. Call `listen` before the next await. Raises MailboxNotFound, Unavailable."""
        feed = self._feeds.get(place.account, {}).get(place.mailbox) or self._resting.pop(place, None)
        if feed is None or feed.deleted:
            feed = Feed(self._mail, place)
        self._feeds.setdefault(place.account, {})[place.mailbox] = feed
        try:
            await feed.refresh()
        except PosthornError:
            self._rest(feed)
            raise
        # Somebody else may have put it to rest meanwhile.
        self._resting.pop(place, None)
        self._feeds.setdefault(place.account, {})[place.mailbox] = feed
        return feed

    def listen(self, feed: Feed, listener: Listener) -> None:
        feed.listeners.add(listener)

    def leave(self, feed: Feed, listener: Listener) -> None:
        feed.listeners.discard(listener)
        self._rest(feed)

    def watch(self, account: AccountId, listener: Callable[[], None]) -> WatchedAccount:
        """The mailboxes of an account; `listener` is called when something of it changed, until `unwatch`."""
        watched = self._watched.setdefault(account, WatchedAccount(self._mail, account))
        watched.listeners.add(listener)
        return watched

    def unwatch(self, watched: WatchedAccount, listener: Callable[[], None]) -> None:
        watched.listeners.discard(listener)
        if not watched.listeners and self._watched.get(watched.account) is watched:
            del self._watched[watched.account]

    def _rest(self, feed: Feed) -> None:
        """Without listeners a feed is not watched any more; it is kept a while and catches up when joined again."""
        account, mailbox = feed.place
        near = self._feeds.get(account, {})
        if feed.listeners or near.get(mailbox) is not feed:
            return
        del near[mailbox]
        if not near:
            del self._feeds[account]
        if feed.deleted or not feed.modseq:
            return
        self._resting[feed.place] = feed
        entries = sum(len(each.entries) for each in self._resting.values())
        while self._resting and (len(self._resting) > MAX_RESTING or entries > MAX_RESTING_ENTRIES):
            _, dropped = self._resting.popitem(last=False)
            entries -= len(dropped.entries)

    # Events

    def heard(self, event: Changed) -> None:
        """An account changed, in this process or elsewhere."""
        if (watched := self._watched.get(event.account)) is not None:
            watched.hear(event.modseq)
        behind = [
            feed
            for feed in self._feeds.get(event.account, {}).values()
            if feed.listeners and feed.modseq < event.modseq
        ]
        for feed in behind:
            feed.wanted = max(feed.wanted, event.modseq)
        idle = [feed for feed in behind if feed not in self._following]
        if idle:
            self._following.update(idle)
            self._start(f"follow account {event.account}", self._follow(event.account, idle))

    async def _follow(self, account: AccountId, feeds: list[Feed]) -> None:
        """Bring feeds of one account up to date; a database that does not answer is asked again."""
        try:
            for pause in (*_RETRY, None):
                try:
                    await self._catch_up(account, feeds)
                    return
                except PosthornError as error:
                    if not error.temporary or pause is None:
                        self._log.warning("could not read changes", account=account, reason=error.public)
                        return
                await asyncio.sleep(pause)
        except Exception:  # noqa: BLE001 (the top of a background task)
            # One account's trouble must not end the sessions of all others; the self-check tries again.
            self._log.exception("following changes failed", account=account)
        finally:
            self._following.difference_update(feeds)

    async def _catch_up(self, account: AccountId, feeds: list[Feed]) -> None:
        while behind := [feed for feed in feeds if feed.listeners and not feed.deleted and feed.modseq < feed.wanted]:
            if len(behind) > 1:
                behind = await self._touched(account, behind)
            for feed in behind:
                try:
                    await feed.catch_up()
                except MailboxNotFound:
                    continue

    async def _touched(self, account: AccountId, feeds: list[Feed]) -> list[Feed]:
        """Of several mailboxes of an account, those something happened in: one query instead of one for each."""
        wanted = {feed: feed.wanted for feed in feeds}
        modseqs = await self._mail.mailbox_modseqs(account)
        found = []
        for feed in feeds:
            own = modseqs.get(feed.place.mailbox)
            if own is None or own > feed.modseq:
                found.append(feed)
            else:
                feed.modseq = max(feed.modseq, wanted[feed])
        return found

    async def hear(self, bus: Bus) -> None:
        """Follow the bus until it stops."""
        async for event in bus.subscribe(Topic.CHANGES):
            if isinstance(event, Changed):
                self.heard(event)
            elif isinstance(event, Gap):
                self._log.info("events may be missing, looking at all watched accounts", reason=event.reason)
                await self._look_quietly()

    async def check_for_ever(self, seconds: float) -> None:
        """The self-check: what it finds was told by no event."""
        while True:
            await asyncio.sleep(seconds)
            found = await self._look_quietly()
            if found:
                self._found_late(found)
                self._log.warning("changes found that no event told of", accounts=found)

    async def _look_quietly(self) -> int:
        try:
            return await self.look()
        except PosthornError as error:
            self._log.warning("could not look for changes", reason=error.public)
            return 0

    async def look(self) -> int:
        """Compare all watched accounts with the store, in one query; returns how many were behind unnoticed."""
        accounts = self._feeds.keys() | self._watched.keys()
        known = {account: oldest for account in accounts if (oldest := self._oldest(account)) is not None}
        if not known:
            return 0
        modseqs = await self._mail.modseqs(list(known))
        behind = [account for account in known if account in modseqs and modseqs[account] > known[account]]
        unheard = [account for account in behind if self._unheard(account, modseqs[account])]
        for account in behind:
            self.heard(Changed(account, modseqs[account], frozenset()))
        return len(unheard)

    def _oldest(self, account: AccountId) -> Modseq | None:
        """The modseq of the account that all that is watched of it was read at, None when nothing is watched."""
        known = [feed.modseq for feed in self._feeds.get(account, {}).values() if feed.listeners]
        if (watched := self._watched.get(account)) is not None and watched.modseq:
            known.append(watched.modseq)
        return min(known, default=None)

    def _unheard(self, account: AccountId, modseq: Modseq) -> bool:
        """Whether no event told of this modseq, so that nobody is reading it yet."""
        feeds = self._feeds.get(account, {}).values()
        watched = self._watched.get(account)
        missed = watched is not None and 0 < watched.heard < modseq
        late = any(feed.listeners and feed.modseq < modseq for feed in feeds)
        return missed or (late and self._following.isdisjoint(feeds))
