"""The account's mailboxes by the names IMAP gives them: levels joined by "/", the inbox as INBOX."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from posthorn_model.ids import MailboxId
from posthorn_model.mail import Mailbox, Role
from posthorn_model.mailbox_paths import normal, paths

if TYPE_CHECKING:
    from posthorn_imap.session import Session


class Tree:
    """A snapshot of all mailboxes of one account."""

    def __init__(self, mailboxes: Iterable[Mailbox]) -> None:
        self._by_id = {mailbox.id: mailbox for mailbox in mailboxes}
        self._names = paths(self._by_id.values())
        self._by_name = {name: self._by_id[id_] for id_, name in self._names.items()}
        self._parents = {mailbox.parent for mailbox in self._by_id.values()}

    def find(self, name: str) -> Mailbox | None:
        return self._by_name.get(normal(name))

    def name(self, mailbox: MailboxId) -> str | None:
        return self._names.get(mailbox)

    def has_children(self, mailbox: MailboxId) -> bool:
        return mailbox in self._parents

    def all(self) -> Sequence[tuple[str, Mailbox]]:
        """Every mailbox with its name: INBOX first, then by name."""
        return sorted(
            ((name, self._by_id[id_]) for id_, name in self._names.items()),
            key=lambda pair: (pair[1].role is not Role.INBOX, pair[0]),
        )


async def read_tree(session: "Session") -> Tree:
    """The mailboxes of the session's account now. Raises Unavailable."""
    return Tree(await session.parts.storage.mail.mailboxes(session.owner.id))
