"""A mailbox of some account: whose it is, what a session calls it, and what it may do there (RFC 4314)."""

from dataclasses import dataclass
from typing import NamedTuple

from posthorn_model.errors import MailboxNotFound, MissingRight
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import Mailbox
from posthorn_model.rights import ALL, Right


class Place(NamedTuple):
    """Which mailbox it is: an id names one of its owner's, and accounts may lie on several shards."""

    account: AccountId
    mailbox: MailboxId


@dataclass(frozen=True, slots=True)
class Named:
    """A mailbox under the name that a session has for it.

    One of another account is shown without its special use, and subscribed if this session's account did that.
    """

    name: str
    place: Place
    box: Mailbox
    held: Right = ALL
    """What the session may do with it; the owner everything."""
    shared: bool = False
    """Another account owns it."""

    def may(self, needed: Right) -> bool:
        """Whether the session has all of these rights."""
        return needed in self.held


def permitted(found: Named | None, needed: Right) -> Named:
    """The mailbox, if it is there and the session has all these rights.

    Raises MailboxNotFound, also where the session may not know that there is one (RFC 4314 6), and MissingRight.
    """
    if found is None or not found.held:
        raise MailboxNotFound
    if found.may(needed):
        return found
    if found.may(Right.LOOKUP):
        raise MissingRight(account=found.place.account, mailbox=found.place.mailbox)
    raise MailboxNotFound(account=found.place.account, mailbox=found.place.mailbox)
