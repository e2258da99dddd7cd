"""Stores a message's bytes for Email/set, Email/import and Email/copy; mailboxIds and keywords as they are given."""

import asyncio
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from posthorn_jmap.context import Context
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.errors import invalid_properties
from posthorn_mail_format import summarize
from posthorn_model.errors import InvalidKeyword, MailboxNotFound
from posthorn_model.flags import Flags, SystemFlag, keywords
from posthorn_model.ids import MailboxId
from posthorn_model.mail import NewMessage

SYSTEM_KEYWORDS = {
    "$seen": SystemFlag.SEEN,
    "$answered": SystemFlag.ANSWERED,
    "$flagged": SystemFlag.FLAGGED,
    "$draft": SystemFlag.DRAFT,
}
LARGE = 100_000


def set_keywords(value: Any) -> Flags:
    """A keywords object as flags. Raises SetError."""
    if value is None:
        value = {}
    if not isinstance(value, dict) or not all(flag is True for flag in value.values()):
        raise invalid_properties("keywords map names to true", "keywords")
    try:
        words = keywords(value)
    except InvalidKeyword as error:
        raise invalid_properties("not a keyword (RFC 8621 4.1.1)", "keywords") from error
    system = SystemFlag.NONE
    for word in words & SYSTEM_KEYWORDS.keys():
        system |= SYSTEM_KEYWORDS[word]
    return Flags(system, words - SYSTEM_KEYWORDS.keys())


def shown_keywords(flags: Sequence[Flags]) -> dict[str, bool]:
    """The keywords of an email whose memberships have these flags: any of them, $seen only when all (decision 0002)."""
    found: dict[str, bool] = {}
    for name, bit in SYSTEM_KEYWORDS.items():
        held = [bool(flag.system & bit) for flag in flags]
        if held and (all(held) if bit is SystemFlag.SEEN else any(held)):
            found[name] = True
    for flag in flags:
        found.update(dict.fromkeys(sorted(flag.keywords), True))
    return found


def mailbox_ids(context: Context, value: Any) -> list[MailboxId]:
    """A mailboxIds object, at least one mailbox. Raises SetError."""
    if not isinstance(value, dict) or not value or not all(flag is True for flag in value.values()):
        raise invalid_properties("mailboxIds map one or more ids to true", "mailboxIds")
    found = []
    for wire in value:
        number = ids.from_wire("m", context.real_id(wire))
        if number is None:
            raise invalid_properties("no such mailbox", "mailboxIds")
        found.append(MailboxId(number))
    return found


async def store(
    context: Context, raw: bytes, mailboxes: Sequence[MailboxId], flags: Flags, received_at: datetime | None
) -> dict[str, Any]:
    """Append a message; returns id, blobId, threadId and size of the new Email. Raises SetError, OverQuota."""
    summary = await asyncio.to_thread(summarize, raw) if len(raw) > LARGE else summarize(raw)
    blob = await context.storage.blobs.keep(context.account.id, raw)
    new = NewMessage(context.account.id, mailboxes, summary, blob, flags, received_at)
    try:
        (made,) = await context.storage.mail.append([new])
    except MailboxNotFound as error:
        raise invalid_properties("no such mailbox", "mailboxIds") from error
    return {
        "id": ids.to_wire("e", made.message),
        "blobId": ids.BlobRef(blob.key).wire(),
        "threadId": ids.to_wire("t", made.thread),
        "size": summary.size,
    }
