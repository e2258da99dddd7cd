"""The inbox as POP3 sees it: numbered once at login; what is deleted goes when the client says QUIT."""

from dataclasses import dataclass, field

from posthorn_model.errors import MailboxNotFound
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import Role
from posthorn_storage import Storage
from posthorn_storage.mail import MessageFields

BATCH = 1000


@dataclass(frozen=True, slots=True)
class Letter:
    """One message: `number` from 1 on."""

    number: int
    uid: int
    size: int
    unique_id: str
    """UIDL: stays with the message for ever (RFC 1939 7)."""


@dataclass(slots=True)
class Maildrop:
    account: AccountId
    mailbox: MailboxId
    letters: list[Letter]
    deleted: set[int] = field(default_factory=set)
    """Numbers marked by DELE."""

    def find(self, number: int) -> Letter | None:
        """A message that is there and not marked."""
        if not 0 < number <= len(self.letters) or number in self.deleted:
            return None
        return self.letters[number - 1]

    def left(self) -> list[Letter]:
        return [letter for letter in self.letters if letter.number not in self.deleted]


async def open_maildrop(storage: Storage, account: AccountId) -> Maildrop:
    """Number the messages of the inbox. Raises MailboxNotFound, Unavailable."""
    inbox = next((box for box in await storage.mail.mailboxes(account) if box.role is Role.INBOX), None)
    if inbox is None:
        raise MailboxNotFound
    entries = await storage.mail.entries(account, inbox.id)
    letters: list[Letter] = []
    for start in range(0, len(entries), BATCH):
        uids = [entry.uid for entry in entries[start : start + BATCH]]
        for row in await storage.mail.messages_by_uid(account, inbox.id, uids, MessageFields.NONE):
            unique_id = f"{inbox.uidvalidity}.{row.uid}"
            letters.append(Letter(len(letters) + 1, row.uid, row.message.size, unique_id))
    return Maildrop(account, inbox.id, letters)


async def read_letter(storage: Storage, maildrop: Maildrop, letter: Letter) -> bytes | None:
    """The content; None when another client removed the message meanwhile. Raises BlobNotFound, Unavailable."""
    rows = await storage.mail.messages_by_uid(maildrop.account, maildrop.mailbox, [letter.uid], MessageFields.NONE)
    return await storage.blobs.read(maildrop.account, rows[0].message.blob) if rows else None


async def update(storage: Storage, maildrop: Maildrop) -> None:
    """Remove what is marked (RFC 1939 6, UPDATE); what is gone already is no error."""
    uids = [maildrop.letters[number - 1].uid for number in sorted(maildrop.deleted)]
    if uids:
        await storage.mail.expunge(maildrop.account, maildrop.mailbox, uids, only_deleted=False)
