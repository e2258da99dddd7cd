"""An Email to be created (RFC 8621 4.6) as values: finished header fields, and parts whose content is still to be read.

Every problem is a SetError invalidProperties that names the property.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posthorn_jmap.protocol.errors import SetError, invalid_properties
from posthorn_jmap.protocol.header_property import header_property
from posthorn_mail_format.listing import LISTED
from posthorn_mail_format.message_builder import FORMS
from posthorn_model.errors import PosthornError

Fields = tuple[tuple[str, str], ...]
MAX_PARTS = 500
MAX_LISTED = 2_000
_FORM_OF = {"ids": "asMessageIds", "addresses": "asAddresses", "text": "asText", "date": "asDate"}
_SPELLED = {"message-id": "Message-ID", "in-reply-to": "In-Reply-To", "reply-to": "Reply-To"}
_BODY = ("bodyStructure", "textBody", "htmlBody", "attachments", "bodyValues")
_PART = frozenset({
    "partId", "blobId", "size", "name", "type", "charset", "disposition", "cid", "language", "location", "subParts",
})  # fmt: skip
_PART_FIELDS = {
    "content-type": ("type", "name", "charset"),
    "content-disposition": ("disposition",),
    "content-id": ("cid",),
    "content-language": ("language",),
    "content-location": ("location",),
}
_TYPE = re.compile(r"[a-z0-9!#$&^_.+-]{1,64}/[a-z0-9!#$&^_.+-]{1,64}", re.IGNORECASE)
_TOKEN = re.compile(r"[A-Za-z0-9!#$&^_.+-]{1,64}")


@dataclass(frozen=True, slots=True)
class PartPlan:
    """A part to be made. Its content is the text `value`, or the blob `blob_id`; a multipart has children instead."""

    type: str
    value: str | None = None
    blob_id: str | None = None
    charset: str | None = None
    name: str | None = None
    disposition: str | None = None
    cid: str | None = None
    language: tuple[str, ...] = ()
    location: str | None = None
    headers: Fields = ()
    children: "tuple[PartPlan, ...]" = ()


@dataclass(frozen=True, slots=True)
class NewEmail:
    """A message to be made: from `structure`, or else from a text, an HTML body and attachments."""

    headers: Fields
    structure: PartPlan | None = None
    text: PartPlan | None = None
    html: PartPlan | None = None
    attachments: tuple[PartPlan, ...] = ()


@dataclass(slots=True)
class _Parts:
    """Reads parts and counts them."""

    values: Mapping[str, str]
    left: int = MAX_PARTS


def new_email(value: Mapping[str, Any]) -> NewEmail:
    """Read the header and body properties of an Email to be created. Raises SetError."""
    given = {name: found for name, found in value.items() if found is not None}
    headers = _fields(given, known={*LISTED, *_BODY}, on_part=False)
    parts = _Parts(_values(given.get("bodyValues", {})))
    if "bodyStructure" in given:
        lists = [name for name in ("textBody", "htmlBody", "attachments") if name in given]
        if lists:
            raise invalid_properties("bodyStructure stands alone", "bodyStructure", *lists)
        structure = _part(given["bodyStructure"], "bodyStructure", parts)
        repeated = {name.lower() for name, _ in structure.headers} & {name.lower() for name, _ in headers}
        if repeated:
            raise invalid_properties("a header field is given twice", "bodyStructure")
        return NewEmail(headers, structure)
    return NewEmail(
        headers,
        text=_only(given.get("textBody"), "textBody", "text/plain", parts),
        html=_only(given.get("htmlBody"), "htmlBody", "text/html", parts),
        attachments=tuple(_part(one, "attachments", parts) for one in _list(given, "attachments")),
    )


def _fields(given: Mapping[str, Any], *, known: Iterable[str], on_part: bool) -> Fields:
    """The header fields of an Email or a part, as finished values. Raises SetError."""
    known = set(known)
    found: list[tuple[str, str]] = []
    seen: set[str] = set()
    for name, value in given.items():
        if name in LISTED and not on_part:
            field_name, kind = LISTED[name]
            spelled = _SPELLED.get(field_name, field_name.capitalize())
            fields = [(spelled, _value(name, _FORM_OF[kind], value))]
        elif (header := header_property(name)) is not None:
            values = value if header.every else [value]
            if not isinstance(values, list) or len(values) > MAX_LISTED:
                raise invalid_properties(f"{name[:100]} is a list", name)
            fields = [(header.name, _value(name, header.form, one)) for one in values]
            _check_field(name, header.name.lower(), given, on_part=on_part)
        elif name in known:
            continue
        else:
            raise invalid_properties("cannot be set", name)
        field_name = fields[0][0].lower() if fields else ""
        if field_name in seen:
            raise invalid_properties("a header field is given twice", name)
        seen.add(field_name)
        found += fields
    return tuple(found)


def _check_field(name: str, field_name: str, given: Mapping[str, Any], *, on_part: bool) -> None:
    if on_part:
        also = [other for other in _PART_FIELDS.get(field_name, ()) if other in given]
        if also or field_name == "content-transfer-encoding":
            raise invalid_properties("a header field is given twice, or is the server's to write", name, *also)
    elif field_name.startswith("content-"):
        raise invalid_properties("Content- fields belong to parts", name)


def _value(name: str, form: str, value: Any) -> str:
    """A finished field value of a JMAP form. Raises SetError."""
    if not _fits(form, value):
        raise invalid_properties(f"{name[:100]} has the wrong type", name)
    try:
        return FORMS[form](value)
    except PosthornError as error:
        raise invalid_properties(error.public, name) from error


def _fits(form: str, value: Any) -> bool:
    match form:
        case "asAddresses":
            return _is_list(value, _is_address)
        case "asGroupedAddresses":
            return _is_list(value, _is_group)
        case "asMessageIds" | "asURLs":
            return _is_list(value, lambda one: isinstance(one, str))
    return isinstance(value, str)


def _is_list(value: Any, test: Any) -> bool:
    return isinstance(value, list) and len(value) <= MAX_LISTED and all(test(one) for one in value)


def _is_address(value: Any) -> bool:
    match value:
        case {"email": str(), **rest} if set(rest) <= {"name"}:
            return isinstance(rest.get("name"), str | None)
    return False


def _is_group(value: Any) -> bool:
    match value:
        case {"name": str() | None, "addresses": addresses}:
            return _is_list(addresses, _is_address)
    return False


def _values(value: Any) -> dict[str, str]:
    """bodyValues as texts. Raises SetError."""
    if not isinstance(value, dict):
        raise invalid_properties("bodyValues maps part ids to values", "bodyValues")
    found = {}
    for part_id, one in value.items():
        match one:
            case {"value": str(text), **rest} if set(rest) <= {"isEncodingProblem", "isTruncated"}:
                if any(flag not in (False, None) for flag in rest.values()):
                    raise invalid_properties("a value that is damaged or cut cannot be sent", "bodyValues")
                found[part_id] = text
            case _:
                raise invalid_properties("a body value has a value", "bodyValues")
    return found


def _only(value: Any, name: str, media_type: str, parts: _Parts) -> PartPlan | None:
    """The one part of textBody or htmlBody."""
    if value is None:
        return None
    if not isinstance(value, list) or len(value) != 1 or not isinstance(value[0], dict):
        raise invalid_properties(f"{name} holds exactly one part", name)
    found = _part({"type": media_type, **value[0]}, name, parts)
    if found.type.lower() != media_type:
        raise invalid_properties(f"{name} holds one part of type {media_type}", name)
    return found


def _list(given: Mapping[str, Any], name: str) -> Sequence[Any]:
    found = given.get(name, [])
    if not isinstance(found, list):
        raise invalid_properties(f"{name} is a list of parts", name)
    return found


def _part(value: Any, name: str, parts: _Parts) -> PartPlan:
    parts.left -= 1
    if not isinstance(value, dict) or parts.left < 0:
        raise invalid_properties(f"a part is an object; at most {MAX_PARTS} of them", name)
    given = {key: found for key, found in value.items() if found is not None}
    headers = _part_fields(given, name)
    children = tuple(_part(one, name, parts) for one in _list(given, "subParts"))
    text, blob_id = _content(given, name, parts, has_children=bool(children))
    media_type = given.get("type", "text/plain" if text is not None else "application/octet-stream")
    if children and "type" not in given:
        media_type = "multipart/mixed"
    if not isinstance(media_type, str) or not _TYPE.fullmatch(media_type):
        raise invalid_properties("type is a media type", f"{name}/type")
    if children and not media_type.lower().startswith("multipart/"):
        raise invalid_properties("only a multipart has subParts", f"{name}/subParts")
    language = given.get("language", [])
    if not isinstance(language, list) or not all(isinstance(tag, str) and _TOKEN.fullmatch(tag) for tag in language):
        raise invalid_properties("language is a list of tags", f"{name}/language")
    disposition = _text(given, "disposition", name)
    if disposition is not None and not _TOKEN.fullmatch(disposition):
        raise invalid_properties("disposition is a token", f"{name}/disposition")
    return PartPlan(
        media_type,
        text,
        blob_id,
        _text(given, "charset", name),
        _text(given, "name", name),
        disposition.lower() if disposition else None,
        _text(given, "cid", name),
        tuple(language),
        _text(given, "location", name),
        headers,
        children,
    )


def _part_fields(given: Mapping[str, Any], name: str) -> Fields:
    try:
        return _fields(given, known=_PART, on_part=True)
    except SetError as error:
        names = [f"{name}/{one}" for one in error.fields.get("properties", ())]
        raise invalid_properties(error.description, *names) from error


def _content(
    given: Mapping[str, Any], name: str, parts: _Parts, *, has_children: bool
) -> tuple[str | None, str | None]:
    part_id, blob_id = given.get("partId"), given.get("blobId")
    if has_children:
        if part_id is not None or blob_id is not None:
            raise invalid_properties("a multipart has no content of its own", f"{name}/subParts")
        return None, None
    if (part_id is None) == (blob_id is None):
        raise invalid_properties("a part has either a partId or a blobId", f"{name}/partId", f"{name}/blobId")
    if part_id is None:
        if not isinstance(blob_id, str):
            raise invalid_properties("blobId is an id", f"{name}/blobId")
        return None, blob_id
    if not isinstance(part_id, str) or part_id not in parts.values:
        raise invalid_properties("bodyValues has no value for the part", f"{name}/partId")
    if "charset" in given or "size" in given:
        raise invalid_properties("charset and size of a body value are the server's", f"{name}/charset")
    return parts.values[part_id], None


def _text(given: Mapping[str, Any], key: str, name: str) -> str | None:
    found = given.get(key)
    if found is not None and (not isinstance(found, str) or len(found) > 1_000):
        raise invalid_properties(f"{key} is a short text", f"{name}/{key}")
    return found
