"""What one mailbox holds, read once and then kept up to date, for all sessions of this process that have it selected.

It never invents: entries come from the store alone, and new UIDs only from a read that saw everything before them.
"""

import asyncio
from array import array
from collections.abc import Iterable, Sequence
from typing import Protocol

from posthorn_imap.places import Place
from posthorn_model.errors import AccountNotFound, CannotCalculateChanges, MailboxNotFound
from posthorn_model.ids import Modseq, Uid
from posthorn_model.mail import Entry, Mailbox
from posthorn_storage.mail import FlagsResult, MailboxView
from posthorn_storage.mail_store import MailStore


class Listener(Protocol):
    """A session that has the mailbox selected."""

    def happened(self, *, new: Sequence[int] = (), changed: Iterable[int] = (), gone: Iterable[int] = ()) -> None:
        """Something changed; UIDs as View.happened takes them."""
        ...

    def looked(self) -> None:
        """It was read again: beside its messages, who may do what in it can be another."""
        ...

    def vanished(self) -> None:
        """The mailbox is deleted."""
        ...


class Feed:
    """One mailbox. `refresh` before the first use; `listeners` hear of everything after they joined."""

    def __init__(self, mail: MailStore, place: Place) -> None:
        self._mail = mail
        self._lock = asyncio.Lock()
        self._asked = 0
        self._served = 0
        self.place = place
        self.wanted: Modseq = Modseq(0)
        """The newest modseq of its account anybody told of."""
        self.modseq: Modseq = Modseq(0)
        """The account's, when the mailbox was read; 0 before."""
        self.highest: Modseq = Modseq(0)
        """The mailbox's own (RFC 7162 HIGHESTMODSEQ)."""
        self.entries: dict[int, Entry] = {}
        """By UID, ascending."""
        self.keywords: set[str] = set()
        """Those seen on any message."""
        self.deleted = False
        self.listeners: set[Listener] = set()
        self._last = 0
        """The largest UID ever read."""
        self._mailbox: Mailbox | None = None
        self._uids: array[int] | None = None

    @property
    def uids(self) -> "array[int]":
        """Those of `entries`, ascending, kept ready: who selects the mailbox begins with a copy. Not to be changed."""
        if self._uids is None:
            self._uids = array("I", self.entries)
        return self._uids

    @property
    def mailbox(self) -> Mailbox:
        """As last read."""
        assert self._mailbox is not None
        return self._mailbox

    async def refresh(self) -> None:
        """Read what changed until now; callers share one read as long as it began after they asked.

        Raises MailboxNotFound once the mailbox is deleted (listeners hear it too), Unavailable.
        """
        self._asked += 1
        ticket = self._asked
        async with self._lock:
            if self._served < ticket:
                await self._serve(look=True)

    async def catch_up(self) -> None:
        """Read what was told of until now, unless a read that was under way has brought it already.

        Enough after a change of one's own, which is told of in this process before whoever made it goes on. Raises what
        `refresh` raises.
        """
        wanted = self.wanted
        async with self._lock:
            if self.modseq < wanted:
                await self._serve()

    async def _serve(self, *, look: bool = False) -> None:
        """Read; `look` first whether the account has changed, which it seldom has when nobody told of it."""
        serving = self._asked
        try:
            if not (look and self.modseq and await self._mail.state(self.place.account) == self.modseq):
                await self._read()
        except (MailboxNotFound, AccountNotFound) as error:
            self._delete()
            raise MailboxNotFound(**self.place._asdict()) from error
        self._served = serving

    async def _read(self) -> None:
        if self.modseq:
            try:
                self._take(await self._mail.view(*self.place, self.modseq))
                return
            except CannotCalculateChanges:
                pass  # behind the horizon of the log: read all of it again
        whole = await self._mail.view(*self.place, None)
        present = {entry.uid for entry in whole.entries}
        self._take(whole, [Uid(uid) for uid in self.entries if uid not in present])

    def _take(self, view: MailboxView, gone: Sequence[Uid] | None = None) -> None:
        known = self.entries
        new: list[int] = []
        changed: list[int] = []
        for entry in view.entries:
            before = known.get(entry.uid)
            if before is None:
                if entry.uid <= self._last:
                    continue  # expunged by a session here while this was being read: it never returns
                new.append(entry.uid)
                self._last = entry.uid
            elif before.modseq < entry.modseq:
                changed.append(entry.uid)
            else:
                continue
            known[entry.uid] = entry
            if entry.flags.keywords:
                self.keywords |= entry.flags.keywords
        self._mailbox = view.mailbox
        self.modseq = max(self.modseq, view.modseq)
        self.highest = max(self.highest, view.mailbox.modseq)
        removed = [uid for uid in (view.expunged if gone is None else gone) if known.pop(uid, None)]
        self._tell(new, changed, removed)
        for listener in list(self.listeners):
            listener.looked()

    def flags_set(self, result: FlagsResult) -> None:
        """Take in what a session of this process changed, without reading it again."""
        changed = []
        for entry in result.changed:
            before = self.entries.get(entry.uid)
            if before is not None and before.modseq < entry.modseq:
                self.entries[entry.uid] = entry
                self.keywords |= entry.flags.keywords
                changed.append(int(entry.uid))
                self.highest = max(self.highest, entry.modseq)
        # Each changed message took one modseq: without a gap before them there is nothing else to be read.
        if self.modseq and result.modseq == self.modseq + len(result.changed):
            self.modseq = result.modseq
        self._tell([], changed, [])

    def expunged(self, uids: Iterable[Uid]) -> None:
        """Take in what a session of this process expunged."""
        self._tell([], [], [int(uid) for uid in uids if self.entries.pop(uid, None)])

    def _tell(self, new: Sequence[int], changed: Sequence[int], gone: Sequence[int]) -> None:
        if gone:
            self._uids = None
        elif self._uids is not None:
            self._uids.extend(new)
        if new or changed or gone:
            for listener in list(self.listeners):
                listener.happened(new=new, changed=changed, gone=gone)

    def _delete(self) -> None:
        self.deleted = True
        for listener in list(self.listeners):
            listener.vanished()
