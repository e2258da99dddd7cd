"""Email/import and Email/copy (RFC 8621 4.7, 4.8)."""

from typing import Any

from posthorn_jmap import blobs
from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import standard
from posthorn_jmap.methods.email_store import mailbox_ids, set_keywords, store
from posthorn_jmap.protocol.arguments import Arguments, utc_date
from posthorn_jmap.protocol.errors import MethodError, SetError, invalid_arguments, invalid_properties
from posthorn_model.errors import BlobNotFound

_KNOWN = {"blobId", "mailboxIds", "keywords", "receivedAt"}


async def email_import(context: Context, arguments: Arguments) -> Responses:
    """Email/import: blobs as they are, malformed messages too, byte for byte."""
    arguments.only("ifInState", "emails")
    context.check_account(arguments)
    emails = arguments.mapping("emails")
    if emails is None or not all(isinstance(value, dict) for value in emails.values()):
        raise invalid_arguments("emails maps ids to objects")
    standard.check_set_count(context, len(emails))
    old = await standard.check_state(context, arguments)
    created: dict[str, Any] = {}
    failed: dict[str, Any] = {}

    async def one(key: str, value: dict[str, Any]) -> dict[str, Any]:
        made = await _import(context, value)
        context.created[key] = made["id"]
        return made

    await standard.each(emails.items(), one, created.__setitem__, failed)
    answer = {
        "accountId": context.account_id,
        "oldState": old,
        "newState": await standard.state(context),
        "created": created or None,
        "notCreated": failed or None,
    }
    return [("Email/import", answer)]


async def _import(context: Context, value: dict[str, Any]) -> dict[str, Any]:
    unknown = sorted(set(value) - _KNOWN)
    if unknown:
        raise invalid_properties("cannot be set", *unknown)
    boxes = mailbox_ids(context, value.get("mailboxIds"))
    flags = set_keywords(value.get("keywords"))
    try:
        received = utc_date(value["receivedAt"]) if value.get("receivedAt") is not None else None
    except ValueError as error:
        raise invalid_properties("receivedAt is a UTCDate", "receivedAt") from error
    try:
        raw = await blobs.read(context.storage, context.account.id, value.get("blobId"))
    except BlobNotFound as error:
        raise invalid_properties("no such blob", "blobId") from error
    if not raw:
        raise SetError("invalidEmail", "the blob is empty")
    return await store(context, raw, boxes, flags, received)


async def email_copy(context: Context, arguments: Arguments) -> Responses:
    """Email/copy: between accounts only, and a user has one here, so there is never another to copy from."""
    context.check_account(arguments)
    source = arguments.text("fromAccountId")
    if source is None or source == context.account_id:
        raise invalid_arguments("fromAccountId must be the id of another account (RFC 8620 5.4)")
    raise MethodError("fromAccountNotFound")
