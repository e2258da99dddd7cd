"""An account's mailboxes as scripts name them, and special uses by attribute."""

from collections.abc import Iterable, Mapping

from posthorn_model.errors import AlreadyExists, PosthornError
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import Mailbox, Role
from posthorn_model.mailbox_paths import SEPARATOR, normal, paths
from posthorn_storage import Storage

MAX_LEVELS = 16
USES: Mapping[str, Role] = {
    "\\archive": Role.ARCHIVE,
    "\\drafts": Role.DRAFTS,
    "\\inbox": Role.INBOX,
    "\\junk": Role.JUNK,
    "\\sent": Role.SENT,
    "\\trash": Role.TRASH,
}
"""RFC 6154, RFC 8579 2."""


class Folders:
    """A snapshot of one account's mailboxes."""

    def __init__(self, mailboxes: Iterable[Mailbox]) -> None:
        found = list(mailboxes)
        self._by_name = {name: id_ for id_, name in paths(found).items()}
        self._by_role = {mailbox.role: mailbox.id for mailbox in found if mailbox.role is not None}

    @property
    def names(self) -> frozenset[str]:
        return frozenset(self._by_name)

    @property
    def special_uses(self) -> dict[str, str]:
        """Attribute to the name of the mailbox that has it."""
        paths = {id_: name for name, id_ in self._by_name.items()}
        return {use: paths[self._by_role[role]] for use, role in USES.items() if role in self._by_role}

    def find(self, name: str) -> MailboxId | None:
        return self._by_name.get(normal(name))

    def with_use(self, attribute: str) -> MailboxId | None:
        """The mailbox of a special use, in lower case with its backslash."""
        role = USES.get(attribute)
        return None if role is None else self._by_role.get(role)

    async def create(self, storage: Storage, account: AccountId, name: str, attribute: str = "") -> MailboxId | None:
        """Make a mailbox with all that is missing above it; None where that cannot be (RFC 5490 3.2).

        Raises Unavailable.
        """
        path = normal(name).split(SEPARATOR)
        above = MailboxId(0)
        if not all(path) or len(path) > MAX_LEVELS:
            return None
        for depth, level in enumerate(path, 1):
            known = self._by_name.get(SEPARATOR.join(path[:depth]))
            if known is None:
                role = USES.get(attribute) if depth == len(path) else None
                known = await _make(storage, account, level, above, role)
                if known is None:
                    return None
                self._by_name[SEPARATOR.join(path[:depth])] = known
            above = known
        return above


async def _make(
    storage: Storage, account: AccountId, name: str, above: MailboxId, role: Role | None
) -> MailboxId | None:
    try:
        return (await storage.mail.create_mailbox(account, name, above, role)).id
    except AlreadyExists:  # another delivery was quicker
        found = (box for box in await storage.mail.mailboxes(account) if box.name == name and box.parent == above)
        return next((box.id for box in found), None)
    except PosthornError as error:
        if error.temporary:
            raise
        return None
