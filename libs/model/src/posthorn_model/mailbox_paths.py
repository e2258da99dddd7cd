"""Names of mailboxes as IMAP and Sieve have them: levels joined by "/", the inbox as INBOX (RFC 9051 5.1, RFC 5490)."""

import unicodedata
from collections.abc import Iterable
from typing import Final

from posthorn_model.ids import MailboxId
from posthorn_model.mail import Mailbox, Role

SEPARATOR: Final = "/"
INBOX: Final = "INBOX"
MAX_DEPTH: Final = 64


def paths(mailboxes: Iterable[Mailbox]) -> dict[MailboxId, str]:
    """The name of each mailbox of one account."""
    by_id = {mailbox.id: mailbox for mailbox in mailboxes}
    return {id_: _path(by_id, mailbox) for id_, mailbox in by_id.items()}


def _path(by_id: dict[MailboxId, Mailbox], mailbox: Mailbox) -> str:
    names: list[str] = []
    # The store lets no mailbox be its own ancestor; the bound is for a snapshot that is not of one instant.
    for _ in range(MAX_DEPTH):
        names.append(INBOX if mailbox.role is Role.INBOX else mailbox.name)
        above = by_id.get(MailboxId(mailbox.parent))
        if above is None:
            break
        mailbox = above
    return SEPARATOR.join(reversed(names))


def with_inbox(name: str) -> str:
    """A name with INBOX, also as its first level, in upper case."""
    first, separator, rest = name.partition(SEPARATOR)
    return first.upper() + separator + rest if first.upper() == INBOX else name


def normal(name: str) -> str:
    """A name as it is looked up: Unicode NFC, INBOX in upper case."""
    return with_inbox(unicodedata.normalize("NFC", name))
