"""The octets of body sections: from what is stored with the message where that is enough, else from its blob.

A section is a byte range of the message, known from the stored structure; only fields chosen by name are put together.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from posthorn_imap.protocol.fetch_items import Section, What
from posthorn_mail_format import Part
from posthorn_mail_format.headers import fields_subset, header_end
from posthorn_mail_format.summary import KEPT_HEADERS
from posthorn_model.ids import BlobKey
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.mail import MessageFields, StoredMessage

RANGE_LIMIT = 65536
"""Octets up to which ranges are read instead of a whole large message."""

Span = tuple[int, int]


def stored_is_enough(section: Section) -> bool:
    """Whether the header fields kept with the message answer the section."""
    return (
        section.what is What.FIELDS
        and not section.part
        and all(name.lower().decode("ascii", "replace") in KEPT_HEADERS for name in section.fields)
    )


def needs_blob(sections: Sequence[Section]) -> bool:
    """Whether any section is answered from the message's own octets."""
    return not all(map(stored_is_enough, sections))


def needed_fields(sections: Sequence[Section]) -> MessageFields:
    """What of the stored message the sections need beside its blob."""
    fields = MessageFields.NONE
    for section in sections:
        if stored_is_enough(section):
            fields |= MessageFields.HEADERS
        elif section.part or section.what is not What.WHOLE:
            fields |= MessageFields.STRUCTURE
    return fields


@dataclass(frozen=True, slots=True)
class Plan:
    """Which octets of one message its sections are; None where there is no such part."""

    spans: Mapping[Section, Span | None]

    @property
    def octets(self) -> int:
        return sum(end - start for start, end in filter(None, self.spans.values()))


def plan(message: StoredMessage, sections: Sequence[Section]) -> Plan:
    """Find the sections in the message, by its stored structure."""
    part = Part.load(message.structure) if message.structure is not None else None
    spans: dict[Section, Span | None] = {}
    for section in sections:
        if stored_is_enough(section):
            continue
        name = ".".join([*map(str, section.part), *([_WORDS[section.what]] if section.what in _WORDS else [])])
        span: Span | None = (0, message.size) if part is None else part.section(name)
        if span is not None and section.start is not None and section.what not in (What.FIELDS, What.FIELDS_NOT):
            start = min(span[0] + section.start, span[1])
            span = (start, min(start + section.length, span[1]))
        spans[section] = span
    return Plan(spans)


_WORDS = {
    What.HEADER: "HEADER",
    What.FIELDS: "HEADER",
    What.FIELDS_NOT: "HEADER",
    What.TEXT: "TEXT",
    What.MIME: "MIME",
}


async def read_sections(
    blobs: Blobs, message: StoredMessage, sections: Sequence[Section]
) -> dict[Section, bytes | memoryview | None]:
    """The octets of each section, None for a part that is not there. Raises BlobNotFound, Unavailable."""
    planned = plan(message, sections)
    spans = set(filter(None, planned.spans.values()))
    octets = await _read(blobs, message.blob, message.size, spans)
    found: dict[Section, bytes | memoryview | None] = {}
    for section in sections:
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
