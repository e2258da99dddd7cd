"""Which properties of emails a client asks for (RFC 8621 4.2), and so what has to be read."""

from dataclasses import dataclass

from posthorn_jmap.context import Context
from posthorn_jmap.protocol.arguments import Arguments
from posthorn_jmap.protocol.errors import invalid_arguments
from posthorn_jmap.protocol.header_property import HeaderProperty, header_property
from posthorn_mail_format.listing import LISTED
from posthorn_mail_format.summary import KEPT_HEADERS
from posthorn_storage.mail import MessageFields

METADATA = ("id", "blobId", "threadId", "mailboxIds", "keywords", "size", "receivedAt")
BODY = ("bodyStructure", "bodyValues", "textBody", "htmlBody", "attachments")
DEFAULT = (*METADATA, *LISTED, "hasAttachment", "preview", "bodyValues", "textBody", "htmlBody", "attachments")
KNOWN = frozenset({*DEFAULT, "headers", "bodyStructure"})
PART_DEFAULT = (
    "partId",
    "blobId",
    "size",
    "name",
    "type",
    "charset",
    "disposition",
    "cid",
    "language",
    "location",
)
_PART_KNOWN = frozenset({*PART_DEFAULT, "headers", "subParts"})
ARGUMENTS = (
    "properties",
    "bodyProperties",
    "fetchTextBodyValues",
    "fetchHTMLBodyValues",
    "fetchAllBodyValues",
    "maxBodyValueBytes",
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the client wants to see of each email."""

    properties: tuple[str, ...]
    headers: tuple[HeaderProperty, ...]
    part_properties: tuple[str, ...]
    part_headers: tuple[HeaderProperty, ...]
    text_values: bool
    html_values: bool
    all_values: bool
    max_value: int
    """Most octets of one body value."""

    @property
    def all_fields(self) -> bool:
        """Whether header fields are asked for that are not kept with the message."""
        kept = all(header.name.lower() in KEPT_HEADERS for header in self.headers)
        return "headers" in self.properties or not kept

    def fields(self) -> MessageFields:
        """What to read of stored messages."""
        found = MessageFields.NONE
        names = set(self.properties)
        if names & {"mailboxIds", "keywords"}:
            found |= MessageFields.MAILBOXES
        if names & set(LISTED):
            found |= MessageFields.LISTING
        if names & {"hasAttachment", "preview"}:
            found |= MessageFields.SUMMARY
        if names & set(BODY):
            found |= MessageFields.STRUCTURE
        if self.headers and not self.all_fields:
            found |= MessageFields.HEADERS
        return found


def read(context: Context, arguments: Arguments, default: tuple[str, ...] = DEFAULT) -> Wanted:
    """Read the arguments that Email/get and Email/parse share. Raises MethodError."""
    properties, headers = _properties(arguments, "properties", default, KNOWN)
    part_properties, part_headers = _properties(arguments, "bodyProperties", PART_DEFAULT, _PART_KNOWN)
    limit = arguments.number("maxBodyValueBytes") or context.settings.max_body_value
    return Wanted(
        properties,
        headers,
        part_properties,
        part_headers,
        text_values=arguments.flag("fetchTextBodyValues"),
        html_values=arguments.flag("fetchHTMLBodyValues"),
        all_values=arguments.flag("fetchAllBodyValues"),
        max_value=min(limit, context.settings.max_body_value),
    )


def _properties(
    arguments: Arguments, argument: str, default: tuple[str, ...], known: frozenset[str]
) -> tuple[tuple[str, ...], tuple[HeaderProperty, ...]]:
    names = arguments.strings(argument, 200)
    plain: list[str] = []
    headers: list[HeaderProperty] = []
    for name in default if names is None else names:
        if name in known:
            plain.append(name)
        elif (header := header_property(name)) is not None:
            headers.append(header)
        else:
            raise invalid_arguments(f"{name[:100]} is not a property, or not in that form")
    return tuple(plain), tuple(headers)
