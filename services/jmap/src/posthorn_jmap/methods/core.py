"""Core/echo (RFC 8620 4) and Blob/copy (RFC 8620 6.3)."""

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import MethodError, SetError, invalid_arguments


async def echo(context: Context, arguments: Arguments) -> Responses:
    """Answer the arguments as they came."""
    del context
    return [("Core/echo", dict(arguments.values))]


async def blob_copy(context: Context, arguments: Arguments) -> Responses:
    """Blob/copy: a user has one account here, where a copy of a blob is the blob itself."""
    arguments.only("fromAccountId", "blobIds")
    context.check_account(arguments)
    if arguments.text("fromAccountId") != context.account_id:
        raise MethodError("fromAccountNotFound")
    asked = arguments.strings("blobIds")
    if asked is None:
        raise invalid_arguments("blobIds is needed")
    if len(asked) > context.limits.max_objects_in_set:
        raise MethodError("requestTooLarge", f"at most {context.limits.max_objects_in_set} blobs in a copy")
    copied, missing = {}, {}
    for wire in asked:
        found = ids.blob_from_wire(wire)
        if found is not None and await context.storage.blobs.may_read(context.account.id, found.key):
            copied[wire] = wire
        else:
            missing[wire] = SetError("notFound").value()
    answer = {
        "fromAccountId": context.account_id,
        "accountId": context.account_id,
        "copied": copied or None,
        "notCopied": missing or None,
    }
    return [("Blob/copy", answer)]
