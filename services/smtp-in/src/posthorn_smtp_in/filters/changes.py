"""Changes to the header section that filters ask for, and how they are made. Pure: bytes in, bytes out.

A value that a filter gives cannot end the field it stands in, nor the header section.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

MAX_VALUE = 65536
"""Octets of one field's value."""
MAX_CHANGES = 1000
"""By one filter on one message."""

_NAME = re.compile(rb"[!-9;-~]{1,256}")
_FIELD = re.compile(rb"([!-9;-~]+)[ \t]*:")


class BadChange(Exception):
    """A change that cannot be made, such as a field without a name; the text says why."""


@dataclass(frozen=True, slots=True)
class AddField:
    """A field at the end of the header section."""

    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class InsertField:
    """A field ahead of the one at `index` of the client's fields, counted from 1; 0 is the same, none is above ours."""

    index: int
    name: bytes
    value: bytes


@dataclass(frozen=True, slots=True)
class ChangeField:
    """Another value for a field, the `occurrence`th of its name, from 1 (-1 is the last one); b"" removes it.

    A field that is not there is added, where there is a value.
    """

    name: bytes
    occurrence: int
    value: bytes


@dataclass(frozen=True, slots=True)
class RemoveFields:
    """All fields of a name go."""

    name: bytes


Change = AddField | InsertField | ChangeField | RemoveFields


@dataclass(frozen=True, slots=True)
class Head:
    """A header section in its fields, each with its line ends; `rest` is what ends it, or what is no field."""

    fields: tuple[bytes, ...]
    rest: bytes

    def encode(self) -> bytes:
        """The section."""
        return b"".join((*self.fields, self.rest))


def split(head: bytes) -> Head:
    """Read a header section; from the first line that is no field on, everything is `rest`.

    A CRLF that is missing at its end is added.
    """
    if head and not head.endswith(b"\r\n"):
        head += b"\r\n"
    fields: list[bytes] = []
    at = 0
    while at < len(head):
        end = head.find(b"\r\n", at) + 2
        if _FIELD.match(head, at, end) is None:
            break
        while head[end : end + 1] in (b" ", b"\t"):
            end = head.find(b"\r\n", end) + 2
        fields.append(head[at:end])
        at = end
    return Head(tuple(fields), head[at:])


def field_name(field: bytes) -> bytes:
    """The name of a field in lower case."""
    return field.partition(b":")[0].strip().lower()


def field_value(field: bytes) -> bytes:
    """The value of a field as it stands, folded, without the line end and one space ahead."""
    return field.partition(b":")[2].removesuffix(b"\r\n").removeprefix(b" ")


def write_field(name: bytes, value: bytes) -> bytes:
    """A field with its line end. Raises BadChange for a name that is none or too long a value."""
    if _NAME.fullmatch(name) is None:
        raise BadChange("the name of a field is not one")
    if len(value) > MAX_VALUE:
        raise BadChange("a field is too long")
    lines = [line.strip(b"\r") for line in value.replace(b"\0", b"").replace(b"\r\n", b"\n").split(b"\n")]
    kept = [lines[0].replace(b"\r", b" ").lstrip(b" \t")]
    for line in lines[1:]:
        if text := line.replace(b"\r", b" ").strip(b" \t"):
            kept.append((line[:1] if line[:1] in (b" ", b"\t") else b"\t") + text)
    return name + b": " + b"\r\n".join(kept) + b"\r\n"


def apply(head: Head, changes: Iterable[Change]) -> Head:
    """Make the changes, one after the other. Raises BadChange."""
    fields = list(head.fields)
    for change in changes:
        match change:
            case AddField(name, value):
                fields.append(write_field(name, value))
            case InsertField(index, name, value):
                fields.insert(min(max(index, 1) - 1, len(fields)), write_field(name, value))
            case ChangeField(name, occurrence, value):
                _change(fields, name, occurrence or 1, value)
            case RemoveFields(name):
                fields = [field for field in fields if field_name(field) != name.lower()]
    return Head(tuple(fields), head.rest)


def _change(fields: list[bytes], name: bytes, occurrence: int, value: bytes) -> None:
    places = _places(fields, name)
    if abs(occurrence) > len(places):
        if value:
            fields.append(write_field(name, value))
        return
    place = places[occurrence - 1 if occurrence > 0 else occurrence]
    if value:
        fields[place] = write_field(name, value)
    else:
        del fields[place]


def _places(fields: Sequence[bytes], name: bytes) -> list[int]:
    wanted = name.lower()
    return [number for number, field in enumerate(fields) if field_name(field) == wanted]
