"""An account's mailboxes as they were read last, for all sessions of this process that are notified of them."""

import asyncio
from collections.abc import Callable, Sequence

from posthorn_model.ids import AccountId, Modseq
from posthorn_model.mail import Mailbox
from posthorn_storage.mail_store import MailStore


class WatchedAccount:
    """One account. `refresh` before the first use; `listeners` are called when an event told of something new."""

    def __init__(self, mail: MailStore, account: AccountId) -> None:
        self._mail = mail
        self._lock = asyncio.Lock()
        self.account = account
        self.heard: Modseq = Modseq(0)
        """The newest modseq that an event told of, or that was read."""
        self.modseq: Modseq = Modseq(0)
        """The account's, when its mailboxes were read."""
        self.mailboxes: Sequence[Mailbox] = ()
        self.listeners: set[Callable[[], None]] = set()

    async def refresh(self) -> None:
        """Read the mailboxes, unless they were read since the last event; sessions share one read.

        Raises AccountNotFound, Unavailable.
        """
        async with self._lock:
            if self.modseq and self.modseq >= self.heard:
                return
            # The mailboxes are at least as new as the modseq that is read before them.
            modseq = await self._mail.state(self.account)
            self.mailboxes = await self._mail.mailboxes(self.account)
            self.modseq = modseq
            self.heard = max(self.heard, modseq)

    def hear(self, modseq: Modseq) -> None:
        """An event told of this modseq."""
        self.heard = max(self.heard, modseq)
        if self.modseq < modseq:
            for listener in list(self.listeners):
                listener()
