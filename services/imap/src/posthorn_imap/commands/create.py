"""CREATE (RFC 9051 6.3.4), with USE (RFC 6154 3)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import Tree, read_tree
from posthorn_imap.protocol.commands import Create
from posthorn_imap.protocol.mailbox_names import levels
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_model.errors import AlreadyExists, InvalidName
from posthorn_model.ids import MailboxId
from posthorn_model.mail import Mailbox
from posthorn_model.mailbox_paths import SEPARATOR

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def create(session: "Session", command: Create) -> Answer:
    tree = await read_tree(session)
    if tree.find(command.mailbox) is not None:
        raise AlreadyExists("the mailbox exists already")
    if command.use is not None and any(mailbox.role is command.use for _, mailbox in tree.all()):
        return no("Another mailbox has that special use", b"USEATTR")
    parent = await make_parents(session, tree, command.mailbox)
    made = await session.parts.storage.mail.create_mailbox(
        session.owner.id, levels(command.mailbox)[-1], parent, command.use
    )
    return ok("CREATE completed", b"MAILBOXID (M%d)" % made.id)


async def make_parents(session: "Session", tree: Tree, name: str) -> MailboxId:
    """The mailbox above `name`, made with all that is missing on the way (RFC 9051 6.3.4); 0 for none.

    Raises InvalidName, before anything is made, for a name with an empty level.
    """
    path = levels(name)
    if not all(path):
        raise InvalidName("mailbox names have no empty levels")
    above = MailboxId(0)
    for depth in range(1, len(path)):
        found: Mailbox | None = tree.find(SEPARATOR.join(path[:depth]))
        if found is None:
            found = await _make(session, path[depth - 1], above)
        above = found.id
    return above


async def _make(session: "Session", name: str, parent: MailboxId) -> Mailbox:
    mail, account = session.parts.storage.mail, session.owner.id
    try:
        return await mail.create_mailbox(account, name, parent)
    except AlreadyExists:  # another session was quicker
        for mailbox in await mail.mailboxes(account):
            if mailbox.name == name and mailbox.parent == parent:
                return mailbox
        raise
