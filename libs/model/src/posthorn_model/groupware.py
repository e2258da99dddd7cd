"""Nouns of calendars and address books, as the groupware store keeps them."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from posthorn_model.ids import CollectionId, Modseq


class CollectionKind(StrEnum):
    """What a collection holds; the value is its path segment in DAV."""

    CALENDAR = "cal"
    ADDRESS_BOOK = "card"
    FILES = "file"


@dataclass(frozen=True, slots=True)
class Collection:
    """A calendar, an address book or a folder of files; `name` is its path segment, `display_name` is for people."""

    id: CollectionId
    kind: CollectionKind
    name: str
    display_name: str
    description: str
    color: str | None
    properties: dict[str, str]
    """Dead properties (PROPPATCH) by Clark name, as XML text."""
    modseq: Modseq
    """Of the latest change in it (DAV sync-token, CTag)."""


@dataclass(frozen=True, slots=True)
class Item:
    """A calendar object, a card or a file: one resource in a collection."""

    name: str
    """Path segment, such as "abc.ics"."""
    uid: str
    """iCalendar or vCard UID; unique in a collection; "" for files."""
    etag: str
    """Strong ETag without quotes: hex SHA-256 prefix of the content."""
    content_type: str
    content: bytes
    component: str
    """"VEVENT", "VTODO", "VCARD", ...; "" for files."""
    starts_at: datetime | None
    ends_at: datetime | None
    """Bounds over all recurrences (None: unknown or without end), for a first filter of time ranges."""
    modseq: Modseq
    modified_at: datetime
