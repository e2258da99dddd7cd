"""NOTIFY (RFC 5465): which events in which mailboxes a client wants to hear of."""

import re
from collections.abc import Callable, Mapping

from posthorn_imap.protocol.commands import Command
from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem, Unsupported
from posthorn_imap.protocol.fetch_items import FetchItem, fetch_items
from posthorn_imap.protocol.mailbox_names import mailbox_name
from posthorn_imap.protocol.notify import Event, EventGroup, Filter, Notify

MAX_GROUPS = 32
MAX_MAILBOXES = 100
"""Named in one command."""

_ITEMS_AHEAD = re.compile(rb" (?=\()")
_UNKNOWN = frozenset({b"ANNOTATIONCHANGE", b"MAILBOXMETADATACHANGE", b"SERVERMETADATACHANGE"})
_EVENTS = {event.value.upper(): event for event in Event}
_FILTERS = {each.value: each for each in Filter}
_ARRIVALS = frozenset({Event.MESSAGE_NEW, Event.MESSAGE_EXPUNGE})
_OF_MESSAGES = _ARRIVALS | {Event.FLAG_CHANGE}


class UnknownEvent(Unsupported):
    """NOTIFY asks for an event of the standard that is not told here (RFC 5465 7)."""

    text = "Not all of these events are told here"
    code = b"BADEVENT (" + b" ".join(event.value for event in Event) + b")"


def _notify(cursor: Cursor) -> Notify:
    cursor.space()
    if cursor.accept(b"NONE"):
        return Notify(())
    cursor.expect(b"SET")
    status = cursor.accept(b" STATUS")
    groups: list[EventGroup] = []
    unknown = False
    while not cursor.at_end() or not groups:
        cursor.space()
        group, known = _group(cursor)
        groups.append(group)
        unknown |= not known
        if len(groups) > MAX_GROUPS:
            raise SyntaxProblem(f"more than {MAX_GROUPS} groups of events")
    if sum(len(group.mailboxes) for group in groups) > MAX_MAILBOXES:
        raise SyntaxProblem(f"more than {MAX_MAILBOXES} mailboxes")
    if sum(group.of_selected for group in groups) > 1:
        raise SyntaxProblem("SELECTED and SELECTED-DELAYED may stand once")
    if unknown:
        raise UnknownEvent
    return Notify(tuple(groups), status)


def _group(cursor: Cursor) -> tuple[EventGroup, bool]:
    """A group, and whether all of its events are told here."""
    cursor.expect(b"(")
    which = _FILTERS.get(cursor.word())
    if which is None:
        raise SyntaxProblem("unknown mailbox filter")
    named: tuple[str, ...] = ()
    if which in (Filter.SUBTREE, Filter.MAILBOXES):
        cursor.space()
        named = tuple(cursor.listed(_name)) if cursor.peek() == b"(" else (_name(cursor),)
    cursor.space()
    events, items, known = _events(cursor)
    cursor.expect(b")")
    group = EventGroup(which, events, named, items)
    _judge(group)
    return group, known


def _judge(group: EventGroup) -> None:
    """What RFC 5465 5 wants of each group."""
    arrivals = group.events & _ARRIVALS
    if arrivals and arrivals != _ARRIVALS:
        raise SyntaxProblem("MessageNew and MessageExpunge need each other")
    if Event.FLAG_CHANGE in group.events and not arrivals:
        raise SyntaxProblem("FlagChange needs MessageNew and MessageExpunge")
    if group.of_selected and group.events - _OF_MESSAGES:
        raise SyntaxProblem("the selected mailbox has events of messages alone")
    if group.items and not group.of_selected:
        raise SyntaxProblem("only for the selected mailbox MessageNew may have items to fetch")


def _name(cursor: Cursor) -> str:
    return mailbox_name(cursor.astring(), utf8=cursor.utf8)


def _events(cursor: Cursor) -> tuple[frozenset[Event], tuple[FetchItem, ...], bool]:
    if cursor.accept(b"NONE"):
        return frozenset(), (), True
    events: set[Event] = set()
    items: tuple[FetchItem, ...] = ()
    known = True
    for event, asked in cursor.listed(_event):
        known &= event is not None
        if event is not None:
            events.add(event)
        items = asked or items
    return frozenset(events), items, known


def _event(cursor: Cursor) -> tuple[Event | None, tuple[FetchItem, ...]]:
    name = cursor.word()
    if name in _UNKNOWN:
        return None, ()
    event = _EVENTS.get(name)
    if event is None:
        raise SyntaxProblem("unknown event")
    if event is Event.MESSAGE_NEW and cursor.match(_ITEMS_AHEAD):
        return event, fetch_items(cursor)
    return event, ()


NOTIFY_COMMANDS: Mapping[str, Callable[[Cursor], Command]] = {"NOTIFY": _notify}
