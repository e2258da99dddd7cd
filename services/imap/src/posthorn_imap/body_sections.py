"""The octets of body sections: from what is stored with the message where that is enough, else from its blob.

A section is a byte range of the message, known from the stored structure; only fields chosen by name are put together.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from posthorn_imap.protocol.fetch_items import Content, Decoded, DecodedSize, Section, What
from posthorn_mail_format import Part
from posthorn_mail_format.headers import fields_subset, header_end, subset_of_kept
from posthorn_mail_format.summary import KEPT_HEADERS
from posthorn_mail_format.text import decode_bytes
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.mail import MessageFields, StoredMessage

RANGE_LIMIT = 65536
"""Octets up to which ranges are read instead of a whole large message."""

IN_THREAD = 1 << 20
"""Octets from which an encoding is undone in a thread."""

Span = tuple[int, int]
_ENCODED = frozenset({"base64", "quoted-printable", "x-uuencode", "uuencode", "x-uue", "uue"})
ENCODINGS = _ENCODED | {"", "7bit", "8bit", "binary"}


def stored_is_enough(section: Content) -> bool:
    """Whether the header fields kept with the message answer the section."""
    return (
        isinstance(section, Section)
        and section.what is What.FIELDS
        and not section.part
        and all(name.lower().decode("ascii", "replace") in KEPT_HEADERS for name in section.fields)
    )


def kept_fields(section: Section) -> Callable[[bytes], bytes]:
    """What writes a section that `stored_is_enough` for, with its name, from the kept header fields."""
    choose = subset_of_kept(section.fields)
    name, start, end = section.name, section.start, (section.start or 0) + section.length

    def write(kept: bytes) -> bytes:
        octets = choose(kept)
        if start is not None:
            octets = octets[start:end]
        return b"%s {%d}\r\n%s" % (name, len(octets), octets)

    return write


def needs_blob(sections: Sequence[Content]) -> bool:
    """Whether any section is answered from the message's own octets."""
    return not all(map(stored_is_enough, sections))


def needed_fields(sections: Sequence[Content | DecodedSize]) -> MessageFields:
    """What of the stored message the sections need beside its blob."""
    fields = MessageFields.NONE
    for section in sections:
        if isinstance(section, Section) and stored_is_enough(section):
            fields |= MessageFields.HEADERS
        elif section.part or (isinstance(section, Section) and section.what is not What.WHOLE):
            fields |= MessageFields.STRUCTURE
    return fields


@dataclass(frozen=True, slots=True)
class Plan:
    """Which octets of one message its sections are; None where there is no such part."""

    spans: Mapping[Content, Span | None]
    encodings: Mapping[Content, str]
    """Of the parts whose transfer encoding is to be undone."""

    @property
    def octets(self) -> int:
        return sum(end - start for start, end in filter(None, self.spans.values()))


def plan(message: StoredMessage, sections: Sequence[Content]) -> Plan:
    """Find the sections in the message, by its stored structure."""
    part = Part.load(message.structure) if message.structure is not None else None
    spans: dict[Content, Span | None] = {}
    encodings: dict[Content, str] = {}
    for section in sections:
        if isinstance(section, Decoded):
            spans[section], encodings[section] = _encoded(message, part, section.part)
            continue
        if stored_is_enough(section):
            continue
        name = ".".join([*map(str, section.part), *([_WORDS[section.what]] if section.what in _WORDS else [])])
        span: Span | None = (0, message.size) if part is None else part.section(name)
        if span is not None and section.start is not None and section.what not in (What.FIELDS, What.FIELDS_NOT):
            start = min(span[0] + section.start, span[1])
            span = (start, min(start + section.length, span[1]))
        spans[section] = span
    return Plan(spans, encodings)


def _encoded(message: StoredMessage, part: Part | None, number: tuple[int, ...]) -> tuple[Span | None, str]:
    """Where a part's body is, and its encoding; the message itself, and what has parts of its own, have none."""
    if part is None or not number:
        return (0, message.size), ""
    found = part.find(".".join(map(str, number)))
    if found is None:
        return None, ""
    return (found.body_start, found.body_end), "" if found.children or found.message else found.encoding


def decoded_size(message: StoredMessage, number: tuple[int, ...]) -> int:
    """Octets of a part without its transfer encoding, as counted when the message came; 0 where there is none."""
    if message.structure is None or not number:
        return message.size
    found = Part.load(message.structure).find(".".join(map(str, number)))
    if found is None:
        return 0
    return found.size if found.children or found.message else found.decoded_size


def decodable(message: StoredMessage, number: tuple[int, ...]) -> bool:
    """Whether the transfer encoding of a part is one that can be undone (else RFC 3516 UNKNOWN-CTE)."""
    if message.structure is None or not number:
        return True
    found = Part.load(message.structure).find(".".join(map(str, number)))
    return found is None or bool(found.children or found.message) or found.encoding in ENCODINGS


_WORDS = {
    What.HEADER: "HEADER",
    What.FIELDS: "HEADER",
    What.FIELDS_NOT: "HEADER",
    What.TEXT: "TEXT",
    What.MIME: "MIME",
}


async def read_sections(
    blobs: Blobs, message: StoredMessage, sections: Sequence[Content]
) -> dict[Content, bytes | memoryview | None]:
    """The octets of each section, None for a part that is not there. Raises BlobNotFound, Unavailable."""
    planned = plan(message, sections)
    spans = set(filter(None, planned.spans.values()))
    octets = await _read(blobs, message.blob, message.size, spans)
    found: dict[Content, bytes | memoryview | None] = {}
    for section in sections:
        if isinstance(section, Decoded):
            span = planned.spans[section]
            found[section] = None if span is None else await _decoded(section, octets[span], planned.encodings[section])
            continue
        if section not in planned.spans:
            found[section] = _chosen_fields(section, message.headers or await _whole_header(blobs, message.blob))
            continue
        span = planned.spans[section]
        if span is None:
            found[section] = None
        elif section.what in (What.FIELDS, What.FIELDS_NOT):
            found[section] = _chosen_fields(section, bytes(octets[span]))
        else:
            found[section] = octets[span]
    return found


async def _decoded(section: Decoded, octets: bytes | memoryview, encoding: str) -> bytes | memoryview | None:
    """A part without its encoding; None for an encoding that nobody knows."""
    if encoding in _ENCODED:
        part = Part(0, 0, len(octets), encoding=encoding)
        if len(octets) > IN_THREAD:
            octets = await asyncio.to_thread(decode_bytes, bytes(octets), part)
        else:
            octets = decode_bytes(bytes(octets), part)
    elif encoding not in ENCODINGS:
        return None
    return octets if section.start is None else octets[section.start : section.start + section.length]


async def _read(blobs: Blobs, key: BlobKey, size: int, spans: set[Span]) -> Mapping[Span, bytes | memoryview]:
    if not spans:
        return {}
    if size > RANGE_LIMIT and sum(end - start for start, end in spans) <= RANGE_LIMIT:
        return {(start, end): await blobs.read_range(key, start, end - start) for start, end in spans}
    whole = memoryview(await blobs.read(key))
    return {(start, end): whole[start:end] for start, end in spans}


async def _whole_header(blobs: Blobs, key: BlobKey) -> bytes:
    """The header of a message with so many fields that none are kept beside it."""
    whole = await blobs.read(key)
    return whole[: header_end(whole, 0, len(whole))]


def _chosen_fields(section: Section, header: bytes) -> bytes:
    names = [name.decode("utf-8", "surrogateescape") for name in section.fields]
    octets = fields_subset(header, names, invert=section.what is What.FIELDS_NOT)
    return octets if section.start is None else octets[section.start : section.start + section.length]
