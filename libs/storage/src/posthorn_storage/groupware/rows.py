"""Rows of the groupware tables as values, and what names, properties and ETags may be."""

import hashlib
import json
import unicodedata
from collections.abc import Mapping

from posthorn_mail_format.search_texts import clean
from posthorn_model.errors import InvalidName, TooLarge
from posthorn_model.groupware import Collection, CollectionKind, Item
from posthorn_storage.database import Row

MAX_PROPERTIES = 1024 * 1024
MAX_NAME_BYTES = 255


def segment_of(text: str) -> str:
    """A path segment that can be stored. Raises InvalidName."""
    name = clean(text) if len(text) <= MAX_NAME_BYTES else ""
    wrong = name in ("", ".", "..") or "/" in name or any(unicodedata.category(letter) == "Cc" for letter in name)
    if wrong or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidName
    return name


def etag_of(content: bytes) -> str:
    """The strong ETag of a content."""
    return hashlib.sha256(content).hexdigest()[:32]


def properties_text(values: Mapping[str, str]) -> str:
    """Dead properties as JSON. Raises TooLarge."""
    text = json.dumps({clean(name): clean(value) for name, value in values.items()})
    if len(text) > MAX_PROPERTIES:
        raise TooLarge("the properties are too large")
    return text


def collection_of(row: Row) -> Collection:
    """Make a Collection of a row."""
    return Collection(
        id=row["id"],
        kind=CollectionKind(row["kind"]),
        name=row["name"],
        display_name=row["display_name"],
        description=row["description"],
        color=row["color"],
        properties=json.loads(row["properties"]),
        modseq=row["modseq"],
    )


def item_of(row: Row) -> Item:
    """Make an Item of a row."""
    return Item(
        name=row["name"],
        uid=row["uid"],
        etag=row["etag"],
        content_type=row["content_type"],
        content=row["content"],
        component=row["component"],
        starts_at=row["starts_at"],
        ends_at=row["ends_at"],
        modseq=row["modseq"],
        modified_at=row["modified_at"],
    )
