"""Email objects (RFC 8621 4.1) out of messages. Properties that lists are made of touch no blob."""

from collections.abc import Sequence
from typing import Any

from posthorn_jmap.methods.email_opened import Opened
from posthorn_jmap.methods.email_store import shown_keywords
from posthorn_jmap.methods.email_wanted import BODY, Wanted
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import utc_text
from posthorn_mail_format import listing
from posthorn_mail_format.headers import Field
from posthorn_mail_format.jmap_view import Body, Leaf, body_part, read_body
from posthorn_mail_format.part import Part
from posthorn_storage.mail import StoredMessage


def metadata(message: StoredMessage) -> dict[str, Any]:
    """What only a stored email has."""
    places = message.mailboxes or {}
    return {
        "id": ids.to_wire("e", message.id),
        "blobId": ids.BlobRef(message.blob).wire(),
        "threadId": ids.to_wire("t", message.thread),
        "mailboxIds": {ids.to_wire("m", mailbox): True for mailbox in places},
        "keywords": shown_keywords([flags for _, flags in places.values()]),
        "size": message.size,
        "receivedAt": utc_text(message.received_at),
    }


async def view(message: Opened, known: dict[str, Any], wanted: Wanted) -> dict[str, Any]:
    """The wanted properties of a message; `known` has its metadata."""
    listed = listing.load(message.listing or b"{}")
    body = await _body(message, wanted) if set(wanted.properties) & set(BODY) else {}
    found: dict[str, Any] = {}
    for name in wanted.properties:
        if name in known:
            found[name] = known[name]
        elif name in listed:
            found[name] = listed[name]
        elif name in body:
            found[name] = body[name]
        elif name == "headers":
            found[name] = _headers(await message.fields())
        else:
            found[name] = message.preview if name == "preview" else message.has_attachment
    if wanted.headers:
        fields = await message.fields() if wanted.all_fields else await message.kept_fields()
        found.update({header.spelled: header.value(fields) for header in wanted.headers})
    return found


async def _body(message: Opened, wanted: Wanted) -> dict[str, Any]:
    names = set(wanted.properties)
    body = read_body(message.root)
    found: dict[str, Any] = {}
    for name, leaves in (("textBody", body.text), ("htmlBody", body.html), ("attachments", body.attachments)):
        if name in names:
            found[name] = [await _part(message, leaf.part, leaf.part_id, wanted) for leaf in leaves]
    if "bodyStructure" in names:
        found["bodyStructure"] = await _structure(message, message.root, "", wanted)
    if "bodyValues" in names:
        found["bodyValues"] = await _values(message, _asked(message.root, body, wanted), wanted)
    return found


async def _structure(message: Opened, part: Part, number: str, wanted: Wanted) -> dict[str, Any]:
    if not part.children:
        return await _part(message, part, number or "1", wanted)
    found = await _part(message, part, None, wanted)
    prefix = f"{number}." if number else ""
    # Without its subParts the structure would be none, whatever bodyProperties say (as in RFC 8621 4.2's example).
    found["subParts"] = [
        await _structure(message, child, f"{prefix}{index}", wanted) for index, child in enumerate(part.children, 1)
    ]
    return found


async def _part(message: Opened, part: Part, part_id: str | None, wanted: Wanted) -> dict[str, Any]:
    known = body_part(part, part_id)
    found: dict[str, Any] = {}
    for name in wanted.part_properties:
        if name == "blobId":
            found[name] = None if part_id is None else message.blob_of(part)
        elif name == "headers":
            found[name] = _headers(await message.part_fields(part))
        else:
            found[name] = known.get(name)  # subParts: null but in bodyStructure, which sets them
    if wanted.part_headers:
        fields = await message.part_fields(part)
        found.update({header.spelled: header.value(fields) for header in wanted.part_headers})
    return found


def _asked(root: Part, body: Body, wanted: Wanted) -> list[Leaf]:
    """The text parts whose values are wanted, each once."""
    leaves: list[Leaf] = []
    if wanted.all_values:
        leaves += [Leaf(number, part) for number, part in root.numbered()]
    leaves += body.text if wanted.text_values else ()
    leaves += body.html if wanted.html_values else ()
    return list({leaf.part_id: leaf for leaf in leaves if leaf.part.type == "text"}.values())


async def _values(message: Opened, leaves: Sequence[Leaf], wanted: Wanted) -> dict[str, Any]:
    found = {}
    for leaf in leaves:
        value, cut, damaged = await message.text(leaf.part, wanted.max_value)
        found[leaf.part_id] = {"value": value, "isEncodingProblem": damaged, "isTruncated": cut}
    return found


def _headers(fields: Sequence[Field]) -> list[dict[str, str]]:
    return [{"name": field.name.decode("utf-8", "replace"), "value": listing.as_raw(field.value)} for field in fields]
