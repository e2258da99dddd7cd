"""RENAME (RFC 9051 6.3.6). INBOX stays and gives its messages to the new name."""

from typing import TYPE_CHECKING

from posthorn_imap.commands.create import make_parents
from posthorn_imap.mailbox_tree import read_tree
from posthorn_imap.protocol.commands import Rename
from posthorn_imap.protocol.mailbox_names import levels
from posthorn_imap.protocol.responses import Answer, ok
from posthorn_model.errors import AlreadyExists, MailboxNotFound
from posthorn_model.mail import Role

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def rename(session: "Session", command: Rename) -> Answer:
    mail, account = session.parts.storage.mail, session.owner.id
    tree = await read_tree(session)
    mailbox = tree.find(command.old)
    if mailbox is None:
        raise MailboxNotFound
    if tree.find(command.new) is not None:
        raise AlreadyExists("the new name is taken")
    parent = await make_parents(session, tree, command.new)
    name = levels(command.new)[-1]
    if mailbox.role is Role.INBOX:
        await mail.rename_inbox(account, name, parent)
    else:
        await mail.update_mailbox(account, mailbox.id, name=name, parent=parent)
    return ok("RENAME completed")
