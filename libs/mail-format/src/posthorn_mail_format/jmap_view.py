"""The body of a message as JMAP sees it (RFC 8621 4.1.4): bodyStructure, textBody, htmlBody, attachments, preview.

Pure data from a part tree: part ids are IMAP part numbers; blob ids are the caller's business. Messages inside are
leaves here.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any

from posthorn_mail_format.encoded_words import decode_words
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.part import Part
from posthorn_mail_format.text import plain_text

PREVIEW_CHARACTERS = 256
PREVIEW_OCTETS = 32_768
_BOTH = frozenset({"text", "html"})
_INLINE_MEDIA = frozenset({"image", "audio", "video"})


@dataclass(frozen=True, slots=True)
class Leaf:
    """A leaf part and its part id."""

    part_id: str
    part: Part


@dataclass(frozen=True, slots=True)
class Body:
    """The three flat lists of RFC 8621 4.1.4, each in the order of the message."""

    text: Sequence[Leaf]
    html: Sequence[Leaf]
    attachments: Sequence[Leaf]

    @property
    def has_attachment(self) -> bool:
        """Whether something is offered for download: an attachment that is not inline."""
        return any(leaf.part.disposition != "inline" for leaf in self.attachments)


def read_body(root: Part) -> Body:
    """Return the text, HTML and attachment parts of a message by the algorithm of RFC 8621 4.1.4."""
    lists = _Lists()
    lists.walk([("", root)], "mixed", _BOTH, in_alternative=False)
    return Body(tuple(lists.text), tuple(lists.html), tuple(lists.attachments))


def body_part(part: Part, part_id: str | None) -> dict[str, Any]:
    """Return an EmailBodyPart without blobId, headers and subParts (RFC 8621 4.1.4); `part_id` None is a multipart."""
    charset = part.charset
    if part.type != "text":
        charset = None
    elif charset is None:
        charset = "us-ascii"
    return {
        "partId": part_id,
        "size": part.decoded_size,
        "name": part.name,
        "type": part.media_type,
        "charset": charset,
        "disposition": part.disposition,
        "cid": part.cid,
        "language": list(part.language) or None,
        "location": decode_words(part.location) if part.location else None,
    }


def body_structure(root: Part) -> dict[str, Any]:
    """Return bodyStructure: an EmailBodyPart with subParts all the way down."""
    return _structure(root, "")


def preview(data: Octets, body: Body, texts: Mapping[int, str] = MappingProxyType({})) -> str:
    """Return the first 256 characters of readable text on one line, "" when there is none (RFC 8621 4.1.4).

    `texts` has the readable texts of parts that are known already, by their body's offset.
    """
    for leaf in (*body.text, *body.html):
        if leaf.part.type != "text":
            continue
        text = texts.get(leaf.part.body_start)
        if text is None:
            text = plain_text(data, leaf.part, PREVIEW_OCTETS)
        line = _one_line(text)
        if line:
            return line
    return ""


def _one_line(text: str) -> str:
    """The first words of a text: most often its beginning has enough of them, and the rest is not looked at."""
    for piece in (text[: 4 * PREVIEW_CHARACTERS], text):
        # So many words are enough, however short they are.
        line = " ".join(piece.split(None, PREVIEW_CHARACTERS)[:PREVIEW_CHARACTERS])
        if len(line) >= PREVIEW_CHARACTERS:
            break
    return line[:PREVIEW_CHARACTERS].rstrip()


def _structure(part: Part, number: str) -> dict[str, Any]:
    if not part.children:
        return body_part(part, number or "1")
    structure = body_part(part, None)
    structure["subParts"] = [_structure(child, child_number) for child_number, child in _numbered(part, number)]
    return structure


def _numbered(part: Part, number: str) -> list[tuple[str, Part]]:
    prefix = f"{number}." if number else ""
    return [(f"{prefix}{index}", child) for index, child in enumerate(part.children, 1)]


@dataclass(slots=True)
class _Lists:
    """The lists while they grow; `into` names those that parts here still go to (the RFC sets the other to null)."""

    text: list[Leaf] = field(default_factory=list)
    html: list[Leaf] = field(default_factory=list)
    attachments: list[Leaf] = field(default_factory=list)

    def walk(self, parts: list[tuple[str, Part]], subtype: str, into: frozenset[str], *, in_alternative: bool) -> None:
        text_length, html_length = len(self.text), len(self.html)
        for index, (number, part) in enumerate(parts):
            if part.children:
                alternative = in_alternative or part.subtype == "alternative"
                self.walk(_numbered(part, number), part.subtype, into, in_alternative=alternative)
                continue
            leaf = Leaf(number or "1", part)
            if not _is_inline(part, index, subtype):
                self.attachments.append(leaf)
            elif subtype == "alternative":
                self.alternative(leaf, into)
            else:
                into = self.inline(leaf, into, in_alternative=in_alternative)
        if subtype == "alternative" and into == _BOTH:
            # An alternative of one kind only stands for the other kind too.
            if text_length == len(self.text):
                self.text.extend(self.html[html_length:])
            elif html_length == len(self.html):
                self.html.extend(self.text[text_length:])

    def alternative(self, leaf: Leaf, into: frozenset[str]) -> None:
        kind = {"text/plain": "text", "text/html": "html"}.get(leaf.part.media_type, "")
        target = {"text": self.text, "html": self.html}.get(kind, self.attachments)
        if target is self.attachments or kind in into:
            target.append(leaf)

    def inline(self, leaf: Leaf, into: frozenset[str], *, in_alternative: bool) -> frozenset[str]:
        """Add an inline part; returns where the parts after it in this multipart go."""
        if in_alternative:
            into = into - {{"text/plain": "html", "text/html": "text"}.get(leaf.part.media_type, "")}
        if "text" in into:
            self.text.append(leaf)
        if "html" in into:
            self.html.append(leaf)
        if into != _BOTH and leaf.part.type in _INLINE_MEDIA:
            self.attachments.append(leaf)
        return into


def _is_inline(part: Part, index: int, parent_subtype: str) -> bool:
    if part.disposition == "attachment":
        return False
    if part.media_type not in ("text/plain", "text/html") and part.type not in _INLINE_MEDIA:
        return False
    # Only the first part of a multipart/related counts as its body; a later text with a name is a file.
    return index == 0 or (parent_subtype != "related" and (part.type in _INLINE_MEDIA or not part.name))
