"""RENAME (RFC 9051 6.3.6). One's own INBOX stays and gives its messages to the new name; another's is not renamed."""

from typing import TYPE_CHECKING

from posthorn_imap.commands.create import make_way
from posthorn_imap.mailbox_tree import branch_of
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import Rename
from posthorn_imap.protocol.mailbox_names import levels
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_model.errors import MailboxNotFound
from posthorn_model.mail import Role
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def rename(session: "Session", command: Rename) -> Answer:
    """Within one account: x is needed on what is renamed, k where it goes (RFC 4314 4)."""
    mail = session.parts.storage.mail
    branch = await branch_of(session, command.old)
    found = permitted(None if branch is None else branch.find(command.old), Right.DELETE_MAILBOX)
    target = await branch_of(session, command.new)
    if target is None:
        raise MailboxNotFound
    if target.account != found.place.account:
        return no("A mailbox stays with its owner", b"CANNOT")
    parent = await make_way(session, target, command.new)
    name = levels(command.new)[-1]
    if found.box.role is Role.INBOX:
        await mail.rename_inbox(found.place.account, name, parent)
    else:
        await mail.update_mailbox(*found.place, name=name, parent=parent)
    return ok("RENAME completed")
