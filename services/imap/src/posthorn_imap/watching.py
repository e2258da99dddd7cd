"""The accounts of whose mailboxes one session is told unasked: its own, and those that share with it."""

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from posthorn_imap.changes import Changes
from posthorn_imap.mailbox_tree import Tree, own_mailboxes, read_held, shared_mailboxes
from posthorn_imap.places import Named
from posthorn_imap.watched import WatchedAccount
from posthorn_model.errors import AccountNotFound
from posthorn_model.ids import AccountId

if TYPE_CHECKING:
    from posthorn_imap.session import Session


class Watching:
    """`listener` is called when something of any of them changed, until `stop`.

    Who shares with the session is looked at each time the mailboxes are read: of an account that only begins to share
    it hears at the next change of its own, or of another that shares already.
    """

    def __init__(self, changes: Changes, listener: Callable[[], None]) -> None:
        self._changes = changes
        self._listener = listener
        self._accounts: dict[AccountId, WatchedAccount] = {}

    async def read(self, session: "Session") -> Tree:
        """The mailboxes now; sessions of a process share what they read. Raises Unavailable, AccountNotFound."""
        user, storage = session.user.id, session.parts.storage
        held = await read_held(session)
        self._watch({user, *held})
        own = self._accounts[user]
        await own.refresh()
        owners = []
        for owner in await storage.directory.accounts(held.keys()):
            with suppress(AccountNotFound):
                await self._accounts[owner.id].refresh()
                owners.append(owner)
        found: list[Named] = []
        if held:
            # Asked again: of what was done after a right was taken away its former holder hears nothing.
            held = await read_held(session)
            subscribed = await storage.mail.subscriptions(user)
            for owner in owners:
                boxes = self._accounts[owner.id].mailboxes
                found += shared_mailboxes(owner.id, owner.address, boxes, held.get(owner.id, {}), subscribed)
        return Tree([*found, *own_mailboxes(user, own.mailboxes)])

    def stop(self) -> None:
        self._watch(set())

    def _watch(self, wanted: set[AccountId]) -> None:
        """From now on these, and no others."""
        for account in self._accounts.keys() - wanted:
            self._changes.unwatch(self._accounts.pop(account), self._listener)
        for account in wanted - self._accounts.keys():
            self._accounts[account] = self._changes.watch(account, self._listener)
