"""What NOTIFY sets: groups of events for groups of mailboxes, and which of them holds for a mailbox (RFC 5465 5, 6)."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from posthorn_imap.protocol.fetch_items import FetchItem
from posthorn_model.mailbox_paths import SEPARATOR


class Event(Enum):
    """The value is how it is written."""

    MESSAGE_NEW = b"MessageNew"
    MESSAGE_EXPUNGE = b"MessageExpunge"
    FLAG_CHANGE = b"FlagChange"
    MAILBOX_NAME = b"MailboxName"
    SUBSCRIPTION_CHANGE = b"SubscriptionChange"


class Filter(Enum):
    """Which mailboxes. Messages may come into any of them, so INBOXES are all (RFC 5465 6.3)."""

    SELECTED = b"SELECTED"
    SELECTED_DELAYED = b"SELECTED-DELAYED"
    INBOXES = b"INBOXES"
    PERSONAL = b"PERSONAL"
    SUBSCRIBED = b"SUBSCRIBED"
    SUBTREE = b"SUBTREE"
    MAILBOXES = b"MAILBOXES"


@dataclass(frozen=True, slots=True)
class EventGroup:
    filter: Filter
    events: frozenset[Event]
    """None of them: nothing is told of these mailboxes, whatever later groups say."""
    mailboxes: tuple[str, ...] = ()
    """Of SUBTREE and MAILBOXES."""
    items: tuple[FetchItem, ...] = ()
    """What is fetched of each new message in the selected mailbox."""

    @property
    def of_selected(self) -> bool:
        return self.filter in (Filter.SELECTED, Filter.SELECTED_DELAYED)

    def holds_for(self, name: str, *, subscribed: bool, personal: bool) -> bool:
        """Whether a mailbox that is not selected is one of these."""
        match self.filter:
            case Filter.INBOXES | Filter.PERSONAL:
                return personal
            case Filter.SUBSCRIBED:
                return subscribed
            case Filter.MAILBOXES:
                return name in self.mailboxes
            case Filter.SUBTREE:
                return any(name == top or name.startswith(top + SEPARATOR) for top in self.mailboxes)
        return False


@dataclass(frozen=True, slots=True)
class Notify:
    """NOTIFY SET, and NOTIFY NONE without groups. `status`: how the mailboxes are now is told at once."""

    groups: tuple[EventGroup, ...]
    status: bool = False


def events_for(groups: Sequence[EventGroup], name: str, *, subscribed: bool, personal: bool = True) -> frozenset[Event]:
    """What is told of a mailbox that is not selected: what the first group says that holds for it.

    `personal`: it is the account's own.
    """
    for group in groups:
        if group.holds_for(name, subscribed=subscribed, personal=personal):
            return group.events
    return frozenset()
