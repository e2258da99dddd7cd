"""SearchSnippet/get (RFC 8621 5): why an email matched a text search, as marked HTML text."""

import html
import re
from collections.abc import Iterator

from posthorn_jmap.context import Context, Responses
from posthorn_jmap.methods import email_filter, standard
from posthorn_jmap.methods.email_opened import Opened, opened
from posthorn_jmap.protocol import ids
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import invalid_arguments
from posthorn_mail_format.jmap_view import read_body
from posthorn_mail_format.text import html_to_text
from posthorn_model.ids import MessageId
from posthorn_storage.index.marks import Marker
from posthorn_storage.mail import MessageFields, search
from posthorn_storage.mail.search import Condition, TextField

MAX_PREVIEW = 255
"""Octets of a preview (RFC 8621 5), marks and escapes included."""
BEFORE = 40
"""Characters shown before the first match."""
READ = 65_536
"""Octets of a body that are looked through."""
MAX_READ = 100
"""Emails of one call whose bodies are read."""
_SPACES = re.compile(r"\s+")


async def snippet_get(context: Context, arguments: Arguments) -> Responses:
    """SearchSnippet/get."""
    arguments.only("filter", "emailIds")
    context.check_account(arguments)
    asked = arguments.strings("emailIds")
    if asked is None:
        raise invalid_arguments("emailIds is needed")
    standard.check_count(context, len(asked))
    where = email_filter.condition(context, arguments.mapping("filter"))
    in_subject = await context.storage.search.marker(_texts(where, (TextField.TEXT, TextField.SUBJECT)))
    in_body = await context.storage.search.marker(_texts(where, (TextField.TEXT, TextField.BODY)))
    wires = {context.real_id(wire): wire for wire in asked}
    numbers = [MessageId(number) for wire in wires if (number := ids.from_wire("e", wire)) is not None]
    fields = MessageFields.SUMMARY | MessageFields.STRUCTURE
    found = {}
    for position, message in enumerate(await context.storage.mail.messages(context.account.id, numbers, fields)):
        preview = None
        if in_body is not None and position < MAX_READ:
            preview = _marked_part(await _body(opened(context.storage.blobs, context.account.id, message)), in_body)
        wire = ids.to_wire("e", message.id)
        found[wire] = {
            "emailId": wires[wire],
            "subject": _marked(message.subject or "", in_subject) if in_subject is not None else None,
            "preview": preview,
        }
    missing = [wire for real, wire in wires.items() if real not in found]
    answer = {"accountId": context.account_id, "list": list(found.values()), "notFound": missing or None}
    return [("SearchSnippet/get", answer)]


def _texts(where: Condition, fields: tuple[TextField, ...]) -> Iterator[str]:
    """What is looked for in these fields; what must not be there is no reason for a match."""
    match where:
        case search.And(parts) | search.Or(parts):
            for part in parts:
                yield from _texts(part, fields)
        case search.Matches(field, text) if field in fields:
            yield text


def _marked(text: str, marker: Marker) -> str | None:
    """The text as HTML with its matches marked; None without any."""
    places = marker.places(text)
    return _html(text, 0, len(text), places) if places else None


def _html(text: str, start: int, end: int, places: list[tuple[int, int]]) -> str:
    """A part of the text with the matches that are whole in it marked."""
    pieces: list[str] = []
    position = start
    for first, last in places:
        if first >= position and last <= end:
            pieces += [html.escape(text[position:first]), f"<mark>{html.escape(text[first:last])}</mark>"]
            position = last
    return "".join([*pieces, html.escape(text[position:end])])


def _marked_part(text: str, marker: Marker) -> str | None:
    """The part of the text around its first match, marked, in at most 255 octets."""
    places = marker.places(text)
    if not places:
        return None
    first, last = places[0]
    start = max(first - BEFORE, 0)
    end = max(min(start + MAX_PREVIEW, len(text)), last)
    while True:
        shown = _html(text, start, end, places)
        if len(shown.encode()) <= MAX_PREVIEW:
            return shown
        if end <= last and start >= first:
            return None  # the match alone is too long to be shown
        if end > last:
            end = max(end - 16, last)
        else:
            start = min(start + 8, first)


async def _body(message: Opened) -> str:
    pieces = []
    for leaf in read_body(message.root).text:
        if leaf.part.type == "text":
            text, _, _ = await message.text(leaf.part, READ)
            pieces.append(html_to_text(text) if leaf.part.subtype == "html" else text)
    return _SPACES.sub(" ", " ".join(pieces))
