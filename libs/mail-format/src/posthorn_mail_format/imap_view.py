"""ENVELOPE, BODY and BODYSTRUCTURE of a message as bytes ready to send (RFC 3501 and RFC 9051 7.5.2).

Values stay as in the message: encoded words are not decoded, parameters are not joined (RFC 2231). A value of 7-bit
text is a quoted string, anything else a literal. Absent values are NIL.
"""

import re
from collections.abc import Mapping, Sequence

from posthorn_mail_format.addresses import MAX_ADDRESSES, Address, Group, Parse, parse_addresses
from posthorn_mail_format.headers import by_name, iterate, unfold
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.parameters import Raw
from posthorn_mail_format.part import Part

NIL = b"NIL"
MAX_STRING = 65_536
"""Octets of one string; longer header values are cut, so that an envelope stays sendable."""
MAX_NESTED_HEADERS = 262_144
"""Octets of headers of messages inside that become envelopes; the envelopes of what follows are empty."""
_PLAIN = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-!#-\[\]-\x7f]*\Z")
"""What nearly every string is: quotable, and nothing in it to escape."""
_QUOTABLE = re.compile(rb"[\x01-\x09\x0b\x0c\x0e-\x7f]*\Z")
_ESCAPE = re.compile(rb'(["\\])')


def imap_string(value: bytes | None) -> bytes:
    """Return an IMAP nstring: NIL, a quoted string, or a literal where the value is no 7-bit text without CR and LF."""
    if value is None:
        return NIL
    value = value[:MAX_STRING]
    if _PLAIN.match(value):
        return b'"%b"' % value
    if b"\0" in value:
        # NUL is allowed in no string but literal8 (RFC 9051 4.3).
        value = value.replace(b"\0", b" ")
    if _QUOTABLE.match(value):
        return b'"' + _ESCAPE.sub(rb"\\\1", value) + b'"'
    return b"{%d}\r\n%b" % (len(value), value)


def envelope(values: Mapping[bytes, Sequence[bytes]], parse: Parse = parse_addresses) -> bytes:
    """Return the ENVELOPE of a message's header fields by name, with its parentheses (RFC 9051 7.5.2).

    Sender and reply-to are from's where they are absent or empty. An address list without addresses is NIL. Of fields
    that may stand once the last counts, as in JMAP (RFC 8621 4.1.3) and other servers. `parse` is parse_addresses, or
    one that remembers.
    """

    def last(name: bytes) -> bytes:
        return imap_string(unfold(values[name][-1])) if name in values else NIL

    def addresses(name: bytes) -> bytes:
        return address_list(values[name], parse) if name in values else NIL

    sender = addresses(b"from")
    items = (
        last(b"date"),
        last(b"subject"),
        sender,
        _or(addresses(b"sender"), sender),
        _or(addresses(b"reply-to"), sender),
        addresses(b"to"),
        addresses(b"cc"),
        addresses(b"bcc"),
        last(b"in-reply-to"),
        last(b"message-id"),
    )
    return b"(" + b" ".join(items) + b")"


def address_list(values: Sequence[bytes], parse: Parse = parse_addresses) -> bytes:
    """Return the address structures of raw field values in one list, or NIL when there are none.

    What comes after 5,000 of them is left out, however many fields there are.
    """
    items: list[bytes] = []
    for value in values:
        for entry in parse(value):
            if len(items) >= MAX_ADDRESSES:
                break
            if isinstance(entry, Group):
                # RFC 9051 7.5.2: a NIL host marks a group's start (with its name) and its end (all NIL).
                items.append(b"(NIL NIL " + imap_string(_octets(entry.name)) + b" NIL)")
                items.extend(map(_address, entry.members))
                items.append(b"(NIL NIL NIL NIL)")
            else:
                items.append(_address(entry))
    return b"(" + b"".join(items) + b")" if items else NIL


def body(data: Octets, part: Part) -> bytes:
    """Return BODY: the structure without extension data."""
    return body_views(data, part)[0]


def body_structure(data: Octets, part: Part) -> bytes:
    """Return BODYSTRUCTURE: the structure with extension data."""
    return body_views(data, part)[1]


def body_views(data: Octets, part: Part) -> tuple[bytes, bytes]:
    """Return (BODY, BODYSTRUCTURE); what they share is made once."""
    return _structures(part, _envelopes(data, part))


def _envelopes(data: Octets, root: Part) -> dict[int, bytes]:
    """Envelopes of all messages inside by the offset of their header, within MAX_NESTED_HEADERS."""
    found: dict[int, bytes] = {}
    left = MAX_NESTED_HEADERS
    for part in root.walk():
        inner = part.message
        if inner is None:
            continue
        end = min(inner.body_start, inner.header_start + left)
        found[inner.header_start] = envelope(by_name(iterate(data, inner.header_start, end)))
        left -= end - inner.header_start
    return found


def _structures(part: Part, envelopes: dict[int, bytes]) -> tuple[bytes, bytes]:
    """The structure of a part without and with extension data."""
    if part.children:
        views = [_structures(child, envelopes) for child in part.children]
        subtype = imap_string(_octets(part.subtype))
        more = b" ".join((_params(part.raw_params), *_extension(part)))
        plain = b"".join(view[0] for view in views)
        return b"(%b %b)" % (plain, subtype), b"(%b %b %b)" % (b"".join(view[1] for view in views), subtype, more)
    head = b" ".join((
        imap_string(_octets(part.type)),
        imap_string(_octets(part.subtype)),
        _params(part.raw_params),
        _optional(part.content_id),
        _optional(part.description),
        imap_string(_octets(part.encoding)),
        b"%d" % part.size,
    ))  # fmt: skip
    more = b" ".join((_optional(part.md5), *_extension(part)))
    if part.message is not None:
        inner = _structures(part.message, envelopes)
        head = b"%b %b" % (head, envelopes[part.message.header_start])
        plain, extended = (b"%b %b %d" % (head, view, part.lines) for view in inner)
        return b"(%b)" % plain, b"(%b %b)" % (extended, more)
    if part.type == "text":
        head = b"%b %d" % (head, part.lines)
    return b"(%b)" % head, b"(%b %b)" % (head, more)


def _extension(part: Part) -> tuple[bytes, bytes, bytes]:
    """Disposition, language and location, as both kinds of body end."""
    disposition = NIL
    if part.disposition is not None:
        kind = imap_string(_octets(part.disposition))
        disposition = b"(" + kind + b" " + _params(part.raw_disposition_params) + b")"
    language = NIL
    if len(part.language) == 1:
        language = imap_string(_octets(part.language[0]))
    elif part.language:
        language = b"(" + b" ".join(imap_string(_octets(tag)) for tag in part.language) + b")"
    return disposition, language, _optional(part.location)


def _params(raw: Raw) -> bytes:
    if not raw:
        return NIL
    return b"(" + b" ".join(imap_string(_octets(text)) for pair in raw for text in pair) + b")"


def _address(address: Address) -> bytes:
    # NIL in mailbox or host would mean group syntax: what is missing is an empty string.
    items = (
        _optional(address.name),
        _optional(address.route or None),
        imap_string(_octets(address.mailbox)),
        imap_string(_octets(address.host)),
    )
    return b"(" + b" ".join(items) + b")"


def _or(value: bytes, default: bytes) -> bytes:
    return default if value == NIL else value


def _optional(text: str | None) -> bytes:
    return NIL if text is None else imap_string(_octets(text))


def _octets(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
