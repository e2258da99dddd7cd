"""CREATE (RFC 9051 6.3.4), with USE (RFC 6154 3)."""

from typing import TYPE_CHECKING

from posthorn_imap.mailbox_tree import Branch, branch_of
from posthorn_imap.places import permitted
from posthorn_imap.protocol.commands import Create
from posthorn_imap.protocol.mailbox_names import levels
from posthorn_imap.protocol.responses import Answer, no, ok
from posthorn_imap.protocol.shared_names import OTHERS, PREFIX
from posthorn_model.errors import AlreadyExists, InvalidName, MailboxNotFound
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import Mailbox
from posthorn_model.mailbox_paths import SEPARATOR
from posthorn_model.rights import Right

if TYPE_CHECKING:
    from posthorn_imap.session import Session


async def create(session: "Session", command: Create) -> Answer:
    branch = await branch_of(session, command.mailbox)
    if branch is None:
        raise MailboxNotFound
    if command.use is not None:
        if branch.prefix:
            return no("Mailboxes of others have no special use", b"USEATTR")
        if any(named.box.role is command.use for named in branch.tree.all()):
            return no("Another mailbox has that special use", b"USEATTR")
    parent = await make_way(session, branch, command.mailbox)
    made = await session.parts.storage.mail.create_mailbox(
        branch.account, levels(command.mailbox)[-1], parent, command.use
    )
    return ok("CREATE completed", b"MAILBOXID (M%d)" % made.id)


async def make_way(session: "Session", branch: Branch, name: str) -> MailboxId:
    """The mailbox above a new one, made with all that is missing on the way (RFC 9051 6.3.4); 0 for none.

    In another account the right k is needed on the last one that is there, and at the top nobody has it (RFC 4314 4).
    Raises, before anything is made, AlreadyExists, InvalidName (an empty level, a name that would be of others),
    MailboxNotFound and MissingRight.
    """
    path = levels(branch.local(name))
    if not all(path):
        raise InvalidName("mailbox names have no empty levels")
    if not branch.prefix and (name == OTHERS or name.startswith(PREFIX)):
        raise InvalidName("under that name are the mailboxes of others")
    there = [branch.tree.find(branch.prefix + SEPARATOR.join(path[:depth])) for depth in range(1, len(path) + 1)]
    known = [named for named in there if named is not None]
    if branch.prefix:
        permitted(known[-1] if known else None, Right.CREATE)
    if there[-1] is not None:
        raise AlreadyExists("the mailbox exists already")
    above = known[-1].place.mailbox if known else MailboxId(0)
    for level in path[len(known) : -1]:
        above = (await _make(session, branch.account, level, above)).id
    return above


async def _make(session: "Session", account: AccountId, name: str, parent: MailboxId) -> Mailbox:
    mail = session.parts.storage.mail
    try:
        return await mail.create_mailbox(account, name, parent)
    except AlreadyExists:  # another session was quicker
        for mailbox in await mail.mailboxes(account):
            if mailbox.name == name and mailbox.parent == parent:
                return mailbox
        raise
