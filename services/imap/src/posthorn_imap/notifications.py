"""What a session that said NOTIFY SET is told without asking (RFC 5465): of its selected mailbox, and of all others.

The account's mailboxes are read again when anything of the account changed, and compared with what the client was told
of last. So nothing is told twice, and a lost event costs no more than time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posthorn_imap.commands.fetch import send_new
from posthorn_imap.commands.listing import gone_response, list_response
from posthorn_imap.commands.status import status_response
from posthorn_imap.mailbox_tree import Tree
from posthorn_imap.protocol.commands import StatusItem
from posthorn_imap.protocol.notify import Event, EventGroup, Filter, events_for
from posthorn_imap.watched import WatchedAccount
from posthorn_model.errors import PosthornError
from posthorn_model.ids import MailboxId
from posthorn_model.mail import Mailbox

if TYPE_CHECKING:
    from posthorn_imap.session import Session

COUNTS = (StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY, StatusItem.UNSEEN)
_OF_MESSAGES = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE})
Known = Mapping[MailboxId, tuple[str, Mailbox]]


@dataclass(slots=True)
class Notifications:
    """One session's wishes and what it knows."""

    account: WatchedAccount
    selected: EventGroup | None
    others: tuple[EventGroup, ...]
    known: Known
    due: bool = False
    """Something happened since it was told last."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one mailbox. `before` is None for a new one, `after` for one that is gone."""

    before: tuple[str, Mailbox] | None
    after: tuple[str, Mailbox] | None

    @property
    def events(self) -> frozenset[Event]:
        if self.before is None or self.after is None:
            return frozenset({Event.MAILBOX_NAME})
        (old_name, old), (name, new) = self.before, self.after
        found = set()
        if old_name != name:
            found.add(Event.MAILBOX_NAME)
        if old.subscribed != new.subscribed:
            found.add(Event.SUBSCRIPTION_CHANGE)
        arrived = new.uidnext - old.uidnext
        if arrived:
            found.add(Event.MESSAGE_NEW)
        if new.total - old.total < arrived:
            found.add(Event.MESSAGE_EXPUNGE)
        if new.modseq != old.modseq and not found:
            found.add(Event.FLAG_CHANGE)
        return frozenset(found)


def known_of(tree: Tree) -> Known:
    return {box.id: (name, box) for name, box in tree.all()}


def compared(before: Known, after: Known) -> Iterator[Change]:
    """Every mailbox that differs: those gone first, then in the order of `after`."""
    for mailbox, was in before.items():
        if mailbox not in after:
            yield Change(was, None)
    for mailbox, now in after.items():
        if before.get(mailbox) != now:
            yield Change(before.get(mailbox), now)


async def tell(session: "Session") -> None:
    """Write what the client wants to hear of, between two commands or in IDLE."""
    wishes = session.notifications
    assert wishes is not None
    wishes.due = False
    group = wishes.selected
    if session.selection is not None and group is not None and group.events:
        await session.tell(
            expunges=group.filter is Filter.SELECTED, flags=Event.FLAG_CHANGE in group.events, uids=session.qresync
        )
        await session.update_contexts()
    if not wishes.others:
        return
    try:
        await wishes.account.refresh()
    except PosthornError as error:
        session.log.warning("could not read what to notify of", reason=error.public)
        return
    tree = Tree(wishes.account.mailboxes)
    before, wishes.known = wishes.known, known_of(tree)
    for change in compared(before, wishes.known):
        await _tell_change(session, wishes, tree, change)
        await session.connection.flow()


async def _tell_change(session: "Session", wishes: Notifications, tree: Tree, change: Change) -> None:
    name, box = change.after or change.before or ("", None)
    assert box is not None
    wanted = events_for(wishes.others, name, subscribed=box.subscribed)
    if change.before is not None and change.after is not None:
        # Of a mailbox that is renamed or unsubscribed those hear who were to hear of it before.
        wanted |= events_for(wishes.others, change.before[0], subscribed=change.before[1].subscribed)
    events = change.events & wanted
    if change.after is None:
        if events:
            session.write(gone_response(session, name))
        return
    if events & {Event.MAILBOX_NAME, Event.SUBSCRIPTION_CHANGE}:
        old = change.before[0] if change.before is not None and change.before[0] != name else None
        session.write(list_response(session, tree, box, old=old))
    if events & _OF_MESSAGES and not _is_selected(session, box):
        session.write(await status_response(session, name, box, status_items(session)))


def status_items(session: "Session") -> tuple[StatusItem, ...]:
    """What STATUS tells of a mailbox in which something happened (RFC 5465 4)."""
    return (*COUNTS, StatusItem.HIGHESTMODSEQ) if session.condstore else COUNTS


def _is_selected(session: "Session", box: Mailbox) -> bool:
    return session.selection is not None and session.selection.feed.id == box.id


async def tell_all(session: "Session", wishes: Notifications, tree: Tree) -> None:
    """STATUS of each mailbox whose messages the client wants to hear of (RFC 5465 3.1, `SET STATUS`)."""
    for name, box in tree.all():
        wanted = events_for(wishes.others, name, subscribed=box.subscribed)
        if wanted & _OF_MESSAGES and not _is_selected(session, box):
            session.write(await status_response(session, name, box, status_items(session)))
            await session.connection.flow()


async def fetch_new(session: "Session", after: int) -> None:
    """Of messages that just became known in the selected mailbox, what the client wants of each (RFC 5465 5.2)."""
    wishes, selection = session.notifications, session.selection
    if wishes is None or selection is None or wishes.selected is None or not wishes.selected.items:
        return
    new = [(number, uid) for uid in selection.view.uids_after(after) if (number := selection.view.number(uid))]
    if not new:
        return
    try:
        await send_new(session, selection, wishes.selected.items, new)
    except PosthornError as error:
        session.log.warning("could not read new messages to notify of", reason=error.public)
