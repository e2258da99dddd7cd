"""Email/parse (RFC 8621 4.9): blobs looked at as messages without being stored as emails."""

import asyncio
from typing import Any

from posthorn_jmap import blobs
from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import email_wanted
from posthorn_jmap.methods.email_opened import Opened, opened_blob
from posthorn_jmap.methods.email_store import LARGE
from posthorn_jmap.methods.email_view import view
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError, invalid_arguments
from posthorn_mail_format import summarize
from posthorn_mail_format.headers import iterate
from posthorn_mail_format.listing import LISTED
from posthorn_model.errors import BlobNotFound

DEFAULT = (*LISTED, "hasAttachment", "preview", "bodyValues", "textBody", "htmlBody", "attachments")
MAX_BLOBS = 100
_NO_METADATA = dict.fromkeys(("id", "threadId", "mailboxIds", "keywords", "receivedAt"))
"""What only a stored email has: null."""


async def email_parse(context: Context, arguments: Arguments) -> Responses:
    """Email/parse."""
    arguments.only("blobIds", *email_wanted.ARGUMENTS)
    context.check_account(arguments)
    asked = arguments.strings("blobIds")
    if asked is None:
        raise invalid_arguments("blobIds is needed")
    if len(asked) > MAX_BLOBS:
        raise MethodError("requestTooLarge", f"at most {MAX_BLOBS} blobs in an Email/parse")
    wanted = email_wanted.read(context, arguments, DEFAULT)
    parsed: dict[str, Any] = {}
    not_parsable: list[str] = []
    not_found: list[str] = []
    for blob_id in asked:
        try:
            message = await _open(context, blob_id)
        except BlobNotFound:
            not_found.append(blob_id)
            continue
        if message is None:
            not_parsable.append(blob_id)
            continue
        known = {**_NO_METADATA, "blobId": blob_id, "size": message.size}
        parsed[blob_id] = await view(message, known, wanted)
    answer = {
        "accountId": context.account_id,
        "parsed": parsed or None,
        "notParsable": not_parsable or None,
        "notFound": not_found or None,
    }
    return [("Email/parse", answer)]


async def _open(context: Context, blob_id: str) -> Opened | None:
    """The message in a blob; None when it has no header field at all, so that it is no message."""
    storage, account = context.storage, context.account.id
    raw = await blobs.read(storage, account, blob_id)
    if next(iterate(raw), None) is None:
        return None
    reference = ids.blob_from_wire(blob_id)
    if reference is None or reference.encoding:
        # A message inside an encoded part has no octets of its own to refer to: they are kept as an upload.
        reference = ids.BlobRef(await storage.blobs.upload(account, raw, "message/rfc822"))
    summary = await asyncio.to_thread(summarize, raw) if len(raw) > LARGE else summarize(raw)
    return opened_blob(storage.blobs, account, reference, summary)
