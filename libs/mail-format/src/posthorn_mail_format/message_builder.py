"""Builds a message from header values and body parts (JMAP Email/set, RFC 8621 4.6), as canonical bytes with CRLF.

The caller hands in date, Message-ID and a random token for the boundaries: the same input gives the same bytes.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from posthorn_mail_format import writing
from posthorn_mail_format.dates import format_date
from posthorn_model.errors import InvalidContent

MAX_DEPTH = 20
_STRUCTURAL = frozenset({"content-type", "content-transfer-encoding", "mime-version"})
"""Fields that follow from the parts and are never taken from the caller."""


@dataclass(frozen=True, slots=True)
class NewPart:
    """A part to write: `children` make it a multipart, otherwise `content` holds its octets, not yet encoded.

    Text content is UTF-8 unless `charset` says otherwise. `headers` are finished values of further fields; the content
    fields that follow from the other attributes are not written twice.
    """

    type: str = "text/plain"
    content: bytes = b""
    charset: str | None = None
    name: str | None = None
    disposition: str | None = None
    cid: str | None = None
    language: tuple[str, ...] = ()
    location: str | None = None
    headers: tuple[tuple[str, str], ...] = ()
    children: "tuple[NewPart, ...]" = ()


def compose(text: NewPart | None, html: NewPart | None, attachments: Sequence[NewPart] = ()) -> NewPart:
    """Return one part of a text, an HTML body and attachments: alternative, related and mixed as they are needed.

    Attachments with a cid and the disposition inline go beside the HTML (multipart/related, RFC 2387).
    """
    inline = tuple(part for part in attachments if html is not None and part.cid and part.disposition == "inline")
    others = tuple(part for part in attachments if not any(part is one for one in inline))
    body = html
    if html is not None and inline:
        body = NewPart("multipart/related", children=(html, *inline))
    if text is not None and body is not None:
        body = NewPart("multipart/alternative", children=(text, body))
    elif body is None:
        body = text
    if body is None:
        body = NewPart() if len(others) != 1 else None
    if body is None:
        return others[0]
    return NewPart("multipart/mixed", children=(body, *others)) if others else body


def build(headers: Sequence[tuple[str, str]], body: NewPart, *, date: datetime, message_id: str, token: str) -> bytes:
    """Return the message. `headers` are (name, finished value) in order; see FORMS for values from JMAP's forms.

    Date, Message-ID and MIME-Version are added where they are missing. `message_id` has no brackets. Raises
    InvalidContent for values that cannot be written and for more than 20 levels of parts.
    """
    given = {name.lower() for name, _ in headers}
    lines = [writing.field(name, value) for name, value in headers if name.lower() not in _STRUCTURAL]
    if "date" not in given:
        lines.append(writing.field("Date", format_date(date)))
    if "message-id" not in given:
        lines.append(writing.field("Message-ID", writing.ids_value([message_id])))
    lines.append(writing.field("MIME-Version", "1.0"))
    own = tuple(one for one in body.headers if one[0].lower() not in given)
    message = b"".join(lines) + _part(replace(body, headers=own), token, "", written=frozenset(given))
    return message if message.endswith(b"\r\n") else message + b"\r\n"


def date_value(text: str) -> str:
    """Return a JMAP Date ("2014-10-30T14:12:00+08:00") as a date-time value. Raises InvalidContent."""
    try:
        moment = datetime.fromisoformat(text)
    except ValueError as error:
        raise InvalidContent("that is not a date", date=text[:40]) from error
    if moment.tzinfo is None:
        raise InvalidContent("a date needs a time zone", date=text[:40])
    return format_date(moment)


def groups_value(groups: Sequence[dict[str, Any]]) -> str:
    """Return JMAP groups ({"name" or null, "addresses"}) as a value (RFC 8621 4.1.2.4)."""
    pieces = [
        writing.addresses_value(group["addresses"])
        if group.get("name") is None
        else writing.group_value(group["name"], group["addresses"])
        for group in groups
    ]
    return ", ".join(piece for piece in pieces if piece)


FORMS: dict[str, Callable[[Any], str]] = {
    "asRaw": str,
    "asText": writing.text_value,
    "asAddresses": writing.addresses_value,
    "asGroupedAddresses": groups_value,
    "asMessageIds": writing.ids_value,
    "asDate": date_value,
    "asURLs": writing.urls_value,
}
"""JMAP header forms to the function that makes a finished value of one."""


def _part(part: NewPart, token: str, path: str, *, written: frozenset[str] = frozenset()) -> bytes:
    """The fields and the body of one part. `path` makes its boundary unlike any other of the message."""
    if path.count(".") > MAX_DEPTH:
        raise InvalidContent("the parts are nested too deep")
    parameters: dict[str, str] = {}
    encoding, body = None, b""
    if part.children:
        children = [_part(child, token, f"{path}.{index}") for index, child in enumerate(part.children, 1)]
        boundary = _boundary(children, token, path)
        parameters["boundary"] = boundary
        delimiter = b"--" + boundary.encode("ascii")
        body = b"".join(delimiter + b"\r\n" + child + b"\r\n" for child in children) + delimiter + b"--\r\n"
    else:
        encoding, body = _encode(part, parameters)
    if part.name and not part.children:
        parameters["name"] = part.name
    fields = [("Content-Type", writing.parameters_value(part.type.lower(), parameters)), *_description(part)]
    if encoding is not None and encoding != "7bit":
        fields.append(("Content-Transfer-Encoding", encoding))
    # A field that the caller hands in wins, but never over the type and the encoding that the octets follow.
    extra = [one for one in part.headers if one[0].lower() not in _STRUCTURAL]
    taken = written | {name.lower() for name, _ in extra}
    kept = [one for one in fields if one[0].lower() in _STRUCTURAL or one[0].lower() not in taken]
    return b"".join(writing.field(*one) for one in (*kept, *extra)) + b"\r\n" + body


def _description(part: NewPart) -> list[tuple[str, str]]:
    fields: list[tuple[str, str]] = []
    if part.disposition or (part.name and not part.children):
        parameters = {"filename": part.name} if part.name else {}
        fields.append(("Content-Disposition", writing.parameters_value(part.disposition or "attachment", parameters)))
    if part.cid:
        fields.append(("Content-ID", writing.ids_value([part.cid])))
    if part.language:
        fields.append(("Content-Language", ", ".join(part.language)))
    if part.location:
        fields.append(("Content-Location", writing.text_value(part.location)))
    return fields


def _encode(part: NewPart, parameters: dict[str, str]) -> tuple[str, bytes]:
    kind = part.type.lower()
    if kind.startswith("multipart/"):
        raise InvalidContent("a multipart needs parts")
    if kind.startswith("text/"):
        parameters["charset"] = part.charset or "utf-8"
        if parameters["charset"].lower().replace("-", "").startswith(("utf16", "utf32")):
            return "base64", writing.encode_base64(part.content)
        is_file = part.name or (part.disposition or "").lower() == "attachment"
        if is_file and writing.canonical(part.content) != part.content:
            # A file, not text to be shown: its line ends belong to it and must come back as they are.
            return "base64", writing.encode_base64(part.content)
        return writing.encode_text(part.content)
    if kind.startswith("message/"):
        # RFC 2046 5.2.1: a message is never encoded again.
        content = writing.canonical(part.content)
        return ("7bit" if content.isascii() else "8bit"), content
    return "base64", writing.encode_base64(part.content)


def _boundary(children: Sequence[bytes], token: str, path: str) -> str:
    boundary = f"=_{token}{path}_"
    while any(boundary.encode("ascii") in child for child in children):
        boundary += "_"
        if len(boundary) > 70:
            raise InvalidContent("the parts hold every possible boundary")
    return boundary
