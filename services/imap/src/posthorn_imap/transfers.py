"""Messages copied from one account to another: read, and stored anew with the flags that may be set there.

Accounts share no transaction. What was stored is taken back where the rest fails; a process that dies in between leaves
some of the copies, and of a move both copies and originals: never fewer messages than there were.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from posthorn_imap.letters import new_messages
from posthorn_imap.places import Named
from posthorn_imap.protocol.commands import Letter
from posthorn_imap.selection import Selection
from posthorn_model.errors import BlobNotFound
from posthorn_model.ids import Uid
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.mail import MessageFields, PlacedMessage
from posthorn_storage.mail.copying import Copied

if TYPE_CHECKING:
    from posthorn_imap.session import Session

PAGE = 256
"""Messages looked up at once."""
GROUP_MESSAGES, GROUP_OCTETS = 64, 4 << 20
"""Stored in one transaction, and in memory at once: so many, or one that is larger."""


async def copy_across(session: "Session", selection: Selection, uids: Sequence[int], target: Named) -> Copied:
    """Copy messages of the selected mailbox into one of another account; those that are gone are passed over.

    Raises MailboxNotFound, OverQuota (of the target's owner), Unavailable; then nothing is left at the target.
    """
    mail, source = session.parts.storage.mail, selection.feed.place
    blobs = await session.parts.storage.blobs.of(source.account)
    pairs: list[tuple[Uid, Uid]] = []
    uidvalidity = target.box.uidvalidity
    try:
        for start in range(0, len(uids), PAGE):
            rows = await mail.messages_by_uid(*source, uids[start : start + PAGE], MessageFields.NONE)
            for group in _groups(rows):
                async with session.parts.body_memory.held(2 * sum(row.message.size for row in group)):
                    read = [(row.uid, letter) for row in group if (letter := await _letter(blobs, selection, row))]
                    new = await new_messages(session, target, [letter for _, letter in read])
                    for (uid, _), appended in zip(read, await mail.append(new), strict=True):
                        _, uidvalidity, made = appended.uids[0]
                        pairs.append((uid, made))
    except BaseException:
        if pairs:
            await mail.expunge(*target.place, [made for _, made in pairs], only_deleted=False)
        raise
    return Copied(uidvalidity, pairs)


async def _letter(blobs: Blobs, selection: Selection, row: PlacedMessage) -> Letter | None:
    try:
        octets = await blobs.read(row.message.blob)
    except BlobNotFound:  # expunged meanwhile
        return None
    return Letter(selection.flags(row.uid), row.message.received_at, octets)


def _groups(rows: Sequence[PlacedMessage]) -> Iterator[list[PlacedMessage]]:
    group: list[PlacedMessage] = []
    octets = 0
    for row in rows:
        if group and (len(group) >= GROUP_MESSAGES or octets + row.message.size > GROUP_OCTETS):
            yield group
            group, octets = [], 0
        group.append(row)
        octets += row.message.size
    if group:
        yield group
