"""What a session that said NOTIFY SET is told without asking (RFC 5465): of its selected mailbox, and of all others.

The account's mailboxes are read again when anything of the account changed, and compared with what the client was told
of last. So nothing is told twice, and a lost event costs no more than time.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from posthorn_imap.access import reassess
from posthorn_imap.commands.fetch import send_new
from posthorn_imap.commands.listing import gone_response, list_response
from posthorn_imap.commands.status import status_response
from posthorn_imap.mailbox_tree import Tree
from posthorn_imap.places import Named, Place
from posthorn_imap.protocol.commands import StatusItem
from posthorn_imap.protocol.notify import Event, EventGroup, Filter, events_for
from posthorn_imap.watching import Watching
from posthorn_model.errors import PosthornError
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session

COUNTS = (StatusItem.MESSAGES, StatusItem.UIDNEXT, StatusItem.UIDVALIDITY, StatusItem.UNSEEN)
_OF_MESSAGES = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE, Event.FLAG_CHANGE})
Known = Mapping[Place, Named]


@dataclass(slots=True)
class Notifications:
    """One session's wishes and what it knows."""

    watching: Watching
    selected: EventGroup | None
    others: tuple[EventGroup, ...]
    known: Known
    due: bool = False
    """Something happened since it was told last."""


@dataclass(frozen=True, slots=True)
class Change:
    """What became of one mailbox. `before` is None for a new one, `after` for one that is gone."""

    before: Named | None
    after: Named | None

    @property
    def events(self) -> frozenset[Event]:
        if self.before is None or self.after is None:
            return frozenset({Event.MAILBOX_NAME})
        old, new = self.before.box, self.after.box
        found = set()
        if self.before.name != self.after.name:
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
    return {named.place: named for named in tree.all()}


def compared(before: Known, after: Known) -> Iterator[Change]:
    """Every mailbox that differs: those gone first, then in the order of `after`."""
    for place, was in before.items():
        if place not in after:
            yield Change(was, None)
    for place, now in after.items():
        if before.get(place) != now:
            yield Change(before.get(place), now)


async def tell(session: "Session") -> None:
    """Write what the client wants to hear of, between two commands or in IDLE."""
    wishes = session.notifications
    assert wishes is not None
    wishes.due = False
    group = wishes.selected
    try:
        await reassess(session)
    except PosthornError as error:
        session.log.warning("could not ask what the session may do", reason=error.public)
        return
    if session.selection is not None and session.selection.lost is not None:
        return
    if session.selection is not None and group is not None and group.events:
        await session.tell(
            expunges=group.filter is Filter.SELECTED, flags=Event.FLAG_CHANGE in group.events, uids=session.qresync
        )
        await session.update_contexts()
    if not wishes.others:
        return
    try:
        tree = await wishes.watching.read(session)
    except PosthornError as error:
        session.log.warning("could not read what to notify of", reason=error.public)
        return
    before, wishes.known = wishes.known, known_of(tree)
    for change in compared(before, wishes.known):
        await _tell_change(session, wishes, tree, change)
        await session.connection.flow()


async def _tell_change(session: "Session", wishes: Notifications, tree: Tree, change: Change) -> None:
    # Of a mailbox that is renamed or unsubscribed those hear who were to hear of it before.
    wanted = frozenset[Event]().union(*(_wanted(wishes, each) for each in (change.before, change.after) if each))
    events, named = change.events & wanted, change.after
    if named is None:
        if events and change.before is not None:
            session.write(gone_response(session, change.before.name))
        return
    if events & {Event.MAILBOX_NAME, Event.SUBSCRIPTION_CHANGE}:
        renamed = change.before is not None and change.before.name != named.name
        session.write(
            list_response(session, tree, named, old=change.before.name if change.before and renamed else None)
        )
    if events & _OF_MESSAGES and named.may(Right.READ) and not _is_selected(session, named):
        session.write(await status_response(session, named, status_items(session)))


def _wanted(wishes: Notifications, named: Named) -> frozenset[Event]:
    """What the client wants to hear of a mailbox, as far as it may know of it."""
    wanted = events_for(wishes.others, named.name, subscribed=named.box.subscribed, personal=not named.shared)
    return wanted if named.may(Right.READ) else wanted - _OF_MESSAGES


def status_items(session: "Session") -> tuple[StatusItem, ...]:
    """What STATUS tells of a mailbox in which something happened (RFC 5465 4)."""
    return (*COUNTS, StatusItem.HIGHESTMODSEQ) if session.condstore else COUNTS


def _is_selected(session: "Session", named: Named) -> bool:
    return session.selection is not None and session.selection.feed.place == named.place


async def tell_all(session: "Session", wishes: Notifications, tree: Tree) -> None:
    """STATUS of each mailbox whose messages the client wants to hear of (RFC 5465 3.1, `SET STATUS`)."""
    for named in tree.all():
        if _wanted(wishes, named) & _OF_MESSAGES and not _is_selected(session, named):
            session.write(await status_response(session, named, status_items(session)))
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
