"""The mailboxes of a session by the names IMAP gives them: levels joined by "/", the inbox as INBOX.

Its own stand at the top; those of other accounts are in the namespace of other users, if the session may do anything
with them. Where a name could mean both it means its own.
"""

from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from posthorn_imap.places import Named, Place
from posthorn_imap.protocol.shared_names import owner_in, prefix_of, within
from posthorn_model.errors import AccountNotFound
from posthorn_model.ids import AccountId, MailboxId, Modseq
from posthorn_model.mail import Mailbox, Role
from posthorn_model.mailbox_paths import SEPARATOR, normal, paths
from posthorn_model.rights import Right
from posthorn_storage.mail_store import MailStore

if TYPE_CHECKING:
    from posthorn_imap.parts import Parts
    from posthorn_imap.session import Session

MAX_OWNERS = 1000
"""Accounts whose mailboxes one session is shown."""
KEPT_SECONDS = 30.0
"""For which a tree is kept at most: a database that was restored gives modseqs again that it gave before."""
MAX_KEPT = 6000
"""Mailboxes in all trees that are kept, beside one that has more by itself: some megabytes."""


class Tree:
    """A snapshot of mailboxes, each once, by their names."""

    def __init__(self, mailboxes: Iterable[Named]) -> None:
        self._by_name = {named.name: named for named in mailboxes}
        self._above: set[str] | None = None

    @property
    def count(self) -> int:
        """How many mailboxes it has."""
        return len(self._by_name)

    def find(self, name: str) -> Named | None:
        return self._by_name.get(normal(name))

    def shows(self, name: str) -> bool:
        """Whether there is a mailbox of this very name that is shown."""
        named = self._by_name.get(name)
        return named is not None and named.may(Right.LOOKUP)

    @property
    def above(self) -> Collection[str]:
        """The names of all levels above mailboxes that are shown."""
        if self._above is None:
            shown = (name for name, named in self._by_name.items() if named.may(Right.LOOKUP))
            self._above = {above for name in shown for above in names_above(name)}
        return self._above

    def all(self) -> Sequence[Named]:
        """Every mailbox that is shown: INBOX first, then by name."""
        return sorted(
            (named for named in self._by_name.values() if named.may(Right.LOOKUP)),
            key=lambda named: (named.box.role is not Role.INBOX, named.name),
        )


@dataclass(frozen=True, slots=True)
class Branch:
    """All mailboxes of one account, also those with which the session may do nothing."""

    account: AccountId
    prefix: str
    """In front of the names that their owner has for them; "" for the session's own."""
    tree: Tree

    def find(self, name: str) -> Named | None:
        return self.tree.find(self.prefix + normal(self.local(name)))

    def local(self, name: str) -> str:
        """What the owner calls a mailbox of this branch."""
        return within(name) if self.prefix else name


def names_above(name: str) -> list[str]:
    """The names of all levels above, from the top."""
    path = name.split(SEPARATOR)
    return [SEPARATOR.join(path[:depth]) for depth in range(1, len(path))]


def own_mailboxes(account: AccountId, mailboxes: Iterable[Mailbox]) -> list[Named]:
    """The mailboxes of an account as its own sessions name them."""
    by_id = {box.id: box for box in mailboxes}
    return [Named(name, Place(account, id_), by_id[id_]) for id_, name in paths(by_id.values()).items()]


def shared_mailboxes(
    account: AccountId,
    address: str,
    mailboxes: Iterable[Mailbox],
    held: Mapping[MailboxId, Right],
    subscribed: Collection[tuple[AccountId, MailboxId]],
) -> list[Named]:
    """The mailboxes of an account as sessions of another one name them, with what those may do in each."""
    prefix = prefix_of(address)
    return [
        replace(
            named,
            name=prefix + named.name,
            box=replace(named.box, role=None, subscribed=named.place in subscribed),
            held=held.get(named.place.mailbox, Right.NONE),
            shared=True,
        )
        for named in own_mailboxes(account, mailboxes)
    ]


class OwnTrees:
    """The mailboxes of accounts, kept for all sessions of a process as long as nothing happens to their accounts.

    Nothing of an account changes without taking a modseq (decision 0019), so one question about that is enough, which
    many share (posthorn_storage.mail.counters). `monotonic` gives seconds.
    """

    def __init__(self, mail: MailStore, monotonic: Callable[[], float]) -> None:
        self._mail = mail
        self._monotonic = monotonic
        self._kept: OrderedDict[AccountId, tuple[Tree, Modseq, float]] = OrderedDict()
        self._mailboxes = 0

    async def of(self, account: AccountId) -> Tree:
        """The own mailboxes of an account, as they are now; none when it is not there. Raises Unavailable."""
        try:
            kept = self._kept.get(account)
            if kept is not None and self._monotonic() < kept[2] and await self._mail.state(account) == kept[1]:
                return kept[0]
            mailboxes, modseq = await self._mail.mailboxes_at(account)
        except AccountNotFound:
            return Tree(())
        tree = Tree(own_mailboxes(account, mailboxes))
        self._keep(account, tree, modseq)
        return tree

    def _keep(self, account: AccountId, tree: Tree, modseq: Modseq) -> None:
        if (before := self._kept.pop(account, None)) is not None:
            self._mailboxes -= before[0].count
        self._kept[account] = tree, modseq, self._monotonic() + KEPT_SECONDS
        self._mailboxes += tree.count
        while self._mailboxes > MAX_KEPT and len(self._kept) > 1:
            _, (oldest, _, _) = self._kept.popitem(last=False)
            self._mailboxes -= oldest.count


async def branch_of(session: "Session", name: str) -> Branch | None:
    """The mailboxes of the account in which a mailbox of this name is or would be. Raises Unavailable."""
    return await branch_for(session.parts, session.user.id, name)


async def branch_for(parts: "Parts", user: AccountId, name: str) -> Branch | None:
    """As `branch_of`, for whichever account. Raises Unavailable."""
    storage, mail = parts.storage, parts.storage.mail
    own = Branch(user, "", await parts.trees.of(user))
    address = owner_in(name)
    if address is None or own.find(name) is not None:
        return own
    try:
        owner = await storage.directory.find_account(address)
        if owner.id == user:
            return None
        held = await mail.rights_in(owner.id, user)
        boxes = await mail.mailboxes(owner.id) if held else []
    except AccountNotFound:
        return None
    subscribed = await mail.subscriptions(user)
    shared = shared_mailboxes(owner.id, owner.address, boxes, held, subscribed)
    return Branch(owner.id, prefix_of(owner.address), Tree(shared)) if shared else None


async def find_mailbox(session: "Session", name: str) -> Named | None:
    """The mailbox that the session calls so, whatever it may do with it. Raises Unavailable."""
    return await find_for(session.parts, session.user.id, name)


async def find_for(parts: "Parts", user: AccountId, name: str) -> Named | None:
    """As `find_mailbox`, for whichever account. Raises Unavailable."""
    branch = await branch_for(parts, user, name)
    return None if branch is None else branch.find(name)


async def read_held(session: "Session") -> dict[AccountId, dict[MailboxId, Right]]:
    """What the session may do with mailboxes of others, by their owners. Raises Unavailable."""
    held: dict[AccountId, dict[MailboxId, Right]] = {}
    for shared in await session.parts.storage.mail.shared_with(session.user.id):
        if shared.account in held or len(held) < MAX_OWNERS:
            held.setdefault(shared.account, {})[shared.mailbox] = shared.rights
    return held


async def read_shared(session: "Session") -> list[Named]:
    """The mailboxes of others that the session is shown. Raises Unavailable."""
    mail, user = session.parts.storage.mail, session.user.id
    held = await read_held(session)
    if not held:
        return []
    boxes = await mail.mailboxes_of(held)
    subscribed = await mail.subscriptions(user)
    found: list[Named] = []
    for owner in await session.parts.storage.directory.accounts(held.keys()):
        found += shared_mailboxes(owner.id, owner.address, boxes.get(owner.id, ()), held[owner.id], subscribed)
    return found


async def read_tree(session: "Session") -> Tree:
    """All mailboxes that the session knows of now. Raises Unavailable."""
    user = session.user.id
    own = own_mailboxes(user, await session.parts.storage.mail.mailboxes(user))
    return Tree([*await read_shared(session), *own])
