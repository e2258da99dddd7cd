"""Makes the octets of an Email to be created: its plan, the account's blobs, and a fresh Date and Message-ID."""

import secrets
import uuid
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from posthorn_jmap import blobs
from posthorn_jmap.context import Context
from posthorn_jmap.protocol.errors import SetError, invalid_properties
from posthorn_jmap.protocol.new_email import NewEmail, PartPlan, new_email
from posthorn_mail_format import message_builder
from posthorn_mail_format.message_builder import NewPart
from posthorn_model.errors import BlobNotFound, InvalidContent


async def compose(context: Context, value: Mapping[str, Any]) -> bytes:
    """The message that header and body properties describe. Raises SetError invalidProperties, blobNotFound."""
    plan = new_email(value)
    contents = await _read(context, plan)
    if plan.structure is not None:
        body = _made(plan.structure, contents)
    else:
        text = None if plan.text is None else _made(plan.text, contents)
        html = None if plan.html is None else _made(plan.html, contents)
        body = message_builder.compose(text, html, [_attached(part, contents) for part in plan.attachments])
    try:
        return message_builder.build(
            plan.headers,
            body,
            date=datetime.now(UTC),
            message_id=f"{uuid.uuid4()}@{context.hostname}",
            token=secrets.token_hex(12),
        )
    except InvalidContent as error:
        raise invalid_properties(error.public, "bodyStructure") from error


async def _read(context: Context, plan: NewEmail) -> dict[str, bytes]:
    """The content of every blob that the parts name."""
    named = list(dict.fromkeys(_blob_ids(plan)))
    found: dict[str, bytes] = {}
    missing: list[str] = []
    left = context.limits.max_size_attachments
    for blob_id in named:
        try:
            found[blob_id] = await blobs.read(context.storage, context.account.id, context.real_id(blob_id))
        except BlobNotFound:
            missing.append(blob_id)
            continue
        left -= len(found[blob_id])
        if left < 0:
            raise SetError("tooLarge", "the attachments are larger than maxSizeAttachmentsPerEmail")
    if missing:
        raise SetError("blobNotFound", "no such blob", notFound=missing)
    return found


def _blob_ids(plan: NewEmail) -> list[str]:
    waiting = [part for part in (plan.structure, plan.text, plan.html, *plan.attachments) if part is not None]
    found: list[str] = []
    while waiting:
        part = waiting.pop()
        waiting += part.children
        if part.blob_id is not None:
            found.append(part.blob_id)
    return found


def _attached(part: PartPlan, contents: Mapping[str, bytes]) -> NewPart:
    """A part of "attachments"; without a disposition it is one to download."""
    made = _made(part, contents)
    return made if made.disposition or made.cid else replace(made, disposition="attachment")


def _made(part: PartPlan, contents: Mapping[str, bytes]) -> NewPart:
    content = part.value.encode("utf-8", "replace") if part.value is not None else contents.get(part.blob_id or "", b"")
    return NewPart(
        type=part.type,
        content=content,
        charset=part.charset,
        name=part.name,
        disposition=part.disposition,
        cid=part.cid,
        language=part.language,
        location=part.location,
        headers=part.headers,
        children=tuple(_made(child, contents) for child in part.children),
    )
