"""Storing a message in place of another: no moment has both of them, or neither."""

from posthorn_model.errors import MessageNotFound
from posthorn_model.ids import MailboxId, Uid
from posthorn_model.mail import Appended, NewMessage
from posthorn_storage.mail import expunge
from posthorn_storage.mail.append import Batch
from posthorn_storage.mail.journal import Journal


async def replace(journal: Journal, new: NewMessage, mailbox: MailboxId, uid: Uid, *, window: float) -> Appended:
    """Take a message out of `mailbox` and store `new`, with the room that the old one leaves.

    Raises MessageNotFound, MailboxNotFound, OverQuota; then nothing has happened.
    """
    if not await expunge.expunge(journal, new.account, mailbox, [uid], only_deleted=False):
        raise MessageNotFound(account=new.account, mailbox=mailbox)
    batch = Batch(journal, window, {})
    await batch.prepare([new])
    items = batch.admit([new])
    await batch.write()
    (appended,) = await batch.results(items)
    return appended
