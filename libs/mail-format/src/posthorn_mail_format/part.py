"""The tree of MIME parts of a message as byte offsets, its stored form, and how IMAP numbers its parts.

Strings taken from the message keep their octets (UTF-8 with surrogate escapes); `params` and `disposition_params` are
the decoded forms, `raw_params` and `raw_disposition_params` what the message has.
"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from posthorn_mail_format.encoded_words import text_of
from posthorn_mail_format.parameters import Raw, decode_parameters

VERSION = 1
_SECTION = re.compile(r"(?:([1-9]\d{0,4}(?:\.[1-9]\d{0,4})*))?(?:(?:^|(?<=\d)\.)(HEADER|TEXT|MIME))?\Z", re.IGNORECASE)
_ENCODER = json.JSONEncoder(separators=(",", ":"))
"""Made once: json.dumps with settings of its own makes one for each message."""
_FILE_NAME_UNSAFE = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME part: header = data[header_start:body_start], body = data[body_start:body_end] of the whole message."""

    header_start: int
    body_start: int
    body_end: int
    type: str = "text"
    subtype: str = "plain"
    raw_params: Raw = ()
    encoding: str = "7bit"
    """Content-Transfer-Encoding in lower case."""
    disposition: str | None = None
    raw_disposition_params: Raw = ()
    content_id: str | None = None
    """As in the message, with its angle brackets."""
    description: str | None = None
    language: tuple[str, ...] = ()
    location: str | None = None
    md5: str | None = None
    lines: int = 0
    """Line ends in the body of a text or message part, else 0."""
    decoded_size: int = 0
    """Octets of the body after its transfer encoding is undone (0 for a multipart)."""
    children: "tuple[Part, ...]" = ()
    message: "Part | None" = None
    """The message inside a message/rfc822 or message/global part; its offsets are of the whole message too."""

    @property
    def media_type(self) -> str:
        return f"{self.type}/{self.subtype}"

    @property
    def params(self) -> dict[str, str]:
        """Content-Type parameters, decoded (RFC 2231)."""
        return decode_parameters(self.raw_params)

    @property
    def disposition_params(self) -> dict[str, str]:
        return decode_parameters(self.raw_disposition_params)

    @property
    def charset(self) -> str | None:
        return self.params.get("charset")

    @property
    def name(self) -> str | None:
        """The file name: filename of the disposition, else name of the type (RFC 8621 4.1.4)."""
        name = self.disposition_params.get("filename") or self.params.get("name")
        return _FILE_NAME_UNSAFE.sub("", name) if name else None

    @property
    def cid(self) -> str | None:
        """Content-Id without angle brackets."""
        if self.content_id is None:
            return None
        return text_of(self.content_id.strip().removeprefix("<").removesuffix(">")) or None

    @property
    def size(self) -> int:
        """Octets of the body as it stands in the message."""
        return self.body_end - self.body_start

    def walk(self) -> "Iterator[Part]":
        """Yield this part and all below it, messages inside included, in the order of the message."""
        yield self
        for child in self.children:
            yield from child.walk()
        if self.message is not None:
            yield from self.message.walk()

    def numbered(self, prefix: str = "") -> "Iterator[tuple[str, Part]]":
        """Yield (IMAP part number, leaf part), not descending into messages inside."""
        if not self.children:
            yield prefix or "1", self
            return
        for index, child in enumerate(self.children, 1):
            number = f"{prefix}.{index}" if prefix else str(index)
            if child.children:
                yield from child.numbered(number)
            else:
                yield number, child

    def find(self, number: str) -> "Part | None":
        """Return the part of this message with an IMAP part number ("1", "2.1.3"), or None (RFC 9051 6.4.5)."""
        container: Part | None = self
        part: Part | None = None
        for digits in number.split("."):
            if container is None:
                return None
            index = int(digits) if digits.isascii() and digits.isdigit() else 0
            if container.children:
                part = container.children[index - 1] if 0 < index <= len(container.children) else None
            else:
                # A message that is no multipart has only part 1, its own body.
                part = container if index == 1 else None
            if part is None:
                return None
            container = part.message or (part if part.children else None)
        return part

    def section(self, text: str) -> tuple[int, int] | None:
        """Return the (start, end) of an IMAP section in the whole message, or None when there is no such part.

        "" is the message; "HEADER", "TEXT", "1.2", "1.2.MIME", "1.2.HEADER" and "1.2.TEXT" as in RFC 9051 6.4.5.
        HEADER and TEXT under a number exist for message parts only.
        """
        match = _SECTION.match(text)
        if match is None:
            return None
        number, word = match[1], (match[2] or "").upper()
        if number is None:
            spans = {
                "": (self.header_start, self.body_end),
                "HEADER": (self.header_start, self.body_start),
                "TEXT": (self.body_start, self.body_end),
            }
            return spans.get(word)
        part = self.find(number)
        if part is None:
            return None
        if word == "":
            return part.body_start, part.body_end
        if word == "MIME":
            return part.header_start, part.body_start
        if part.message is None:
            return None
        inner = part.message
        return (inner.header_start, inner.body_start) if word == "HEADER" else (inner.body_start, inner.body_end)

    def dump(self) -> bytes:
        """Return the stored form: compact JSON with a version; later versions may append to each list."""
        return _ENCODER.encode({"v": VERSION, "part": _to_list(self)}).encode("ascii")

    @staticmethod
    def load(stored: bytes) -> "Part":
        """Return the tree of a stored form; unknown keys and appended values are ignored.

        Raises ValueError when `stored` is no stored form.
        """
        try:
            return _from_list(json.loads(stored)["part"])
        except (KeyError, TypeError, IndexError) as error:
            raise ValueError("not a stored part tree") from error


def _to_list(part: Part) -> list[Any]:
    values: list[Any] = [
        part.header_start, part.body_start, part.body_end, part.type, part.subtype, part.raw_params, part.encoding,
        part.lines, part.decoded_size, [_to_list(child) for child in part.children],
        _to_list(part.message) if part.message is not None else None,
        part.disposition, part.raw_disposition_params, part.content_id, part.description, part.language, part.location,
        part.md5,
    ]  # fmt: skip
    while not values[-1]:
        values.pop()
    return values


def _from_list(values: list[Any]) -> Part:
    values = values + [None] * (18 - len(values))
    return Part(
        header_start=values[0],
        body_start=values[1],
        body_end=values[2],
        type=values[3],
        subtype=values[4],
        raw_params=_pairs(values[5]),
        encoding=values[6],
        lines=values[7] or 0,
        decoded_size=values[8] or 0,
        children=tuple(_from_list(child) for child in values[9] or ()),
        message=_from_list(values[10]) if values[10] else None,
        disposition=values[11],
        raw_disposition_params=_pairs(values[12]),
        content_id=values[13],
        description=values[14],
        language=tuple(values[15] or ()),
        location=values[16],
        md5=values[17],
    )


def _pairs(values: list[list[str]] | None) -> Raw:
    return tuple((name, value) for name, value in values or ())
