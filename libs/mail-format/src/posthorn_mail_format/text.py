"""A part's body as bytes or text: transfer encoding and charset undone, HTML made plain. Bounded, never failing.

The HTML reader is one pass of a regular expression and not html.parser, which takes quadratic time on hostile markup.
It looks for readable text only: it neither checks nor cleans HTML for display.
"""

import binascii
import html
import re
from collections.abc import Iterator
from itertools import repeat

from posthorn_mail_format.charsets import clean, codec_name, decode
from posthorn_mail_format.octets import Octets
from posthorn_mail_format.part import Part

MAX_TEXT = 1_048_576
"""Octets of a decoded body that are looked at unless the caller says otherwise."""

_PIECE = 1_048_576
_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_UU_LINE = re.compile(rb"^begin [0-7]{3,4} [^\n]*+\n", re.MULTILINE)
_TAG = re.compile(r"<(?:/?([A-Za-z][A-Za-z0-9]*+)|[!?/])[^<>]*+>?")
_ENTITY = re.compile(r"(&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?)")
_HIDDEN = ("script", "style", "head", "title", "template", "noscript", "svg", "math", "object")
_HIDDEN_START = re.compile(rf"<(?:!--|({'|'.join(_HIDDEN)})(?![A-Za-z0-9])[^<>]*+>?)", re.IGNORECASE | re.ASCII)
_HIDDEN_END = {name: re.compile(rf"</{name}(?=[\s>/])", re.IGNORECASE | re.ASCII) for name in _HIDDEN}
_BLOCKS = (
    "address", "article", "aside", "blockquote", "br", "center", "dd", "div", "dl", "dt", "fieldset", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre",
    "section", "table", "tbody", "tfoot", "thead", "tr", "ul",
)  # fmt: skip


class _Separators(dict[str | None, str]):
    """Tag name (None: a declaration) to what stands in the tag's place: NUL ends a line, which no decoded text has."""

    def __missing__(self, name: str | None) -> str:
        return self.get((name or "").lower(), "")


_INLINE = ("a", "b", "body", "em", "font", "html", "i", "img", "link", "meta", "span", "strong", "u")
_SEPARATORS = _Separators(
    dict.fromkeys(_BLOCKS, "\0") | {"td": " ", "th": " "} | dict.fromkeys(_INLINE, "") | {None: ""}
)


def decode_bytes(data: Octets, part: Part, limit: int | None = None) -> bytes:
    """Return the body of a leaf part with its Content-Transfer-Encoding undone, at most `limit` octets (None: all).

    Damaged base64 gives what can be read of it; an unknown encoding leaves the body as it is (RFC 2045 6).
    """
    start, end = part.body_start, part.body_end
    if part.encoding == "base64":
        if limit is not None:
            end = min(end, start + limit * 2 + 1024)
        decoded = _base64(data, start, end)
    elif part.encoding == "quoted-printable":
        if limit is not None:
            end = min(end, start + limit * 4 + 1024)
        decoded = b"".join(quoted_printable(data, start, end))
    elif part.encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        decoded = _uuencoded(data, start, end, limit)
    else:
        return data[start : end if limit is None else min(end, start + limit)]
    return decoded if limit is None else decoded[:limit]


def decode_text(data: Octets, part: Part, limit: int = MAX_TEXT) -> str:
    """Return the body of a text part as text with LF line ends, of at most `limit` decoded octets."""
    return _with_lf(decode(decode_bytes(data, part, limit), part.charset))


def _with_lf(text: str) -> str:
    """Text with LF for CRLF; a bare CR stays."""
    if "\r" not in text:
        return text
    # Both ways are faster than to look for two characters at once: most text has no CR but before LF.
    if text.isascii():
        octets = text.encode("ascii")
        found = octets.replace(b"\r", b"")
        if found.replace(b"\n", b"\r\n") == octets:
            return found.decode("ascii")
    pieces = text.split("\r")
    if all(map(str.startswith, pieces[1:], repeat("\n"))):
        return "".join(pieces)
    return text.replace("\r\n", "\n")


def quoted_printable(data: Octets, start: int, end: int) -> Iterator[bytes]:
    """Yield the decoded octets of data[start:end] in pieces of about a megabyte, cut where lines end."""
    view = memoryview(data)
    while end - start > _PIECE:
        cut = data.rfind(b"\n", start, start + _PIECE) + 1
        if cut == 0:
            # A line of a megabyte is no quoted-printable (RFC 2045 6.7: 76); cut before what may be an escape.
            escape = data.rfind(b"=", start + _PIECE - 2, start + _PIECE)
            cut = escape if escape >= 0 else start + _PIECE
        yield binascii.a2b_qp(view[start:cut])
        start = cut
    yield binascii.a2b_qp(view[start:end])


def has_encoding_problem(data: Octets, part: Part) -> bool:
    """Whether undoing the transfer encoding or the charset loses something (RFC 8621 4.1.4, isEncodingProblem)."""
    if part.encoding not in ("7bit", "8bit", "binary", "base64", "quoted-printable"):
        return True
    if part.type != "text":
        return False
    codec = codec_name(part.charset or "us-ascii")
    if codec is None:
        return True
    try:
        decode_bytes(data, part).decode(codec)
    except (UnicodeError, ValueError):
        return True
    return False


def plain_text(data: Octets, part: Part, limit: int = MAX_TEXT) -> str:
    """Return a text part as readable text; HTML without its markup."""
    text = decode_text(data, part, limit)
    return html_to_text(text) if part.subtype in ("html", "xhtml", "xml") else text


def html_to_text(markup: str) -> str:
    """Return the readable text of HTML: scripts, styles, comments and tags go, blocks end lines, entities are read."""
    text = _without_entities("".join(map(_without_tags, _shown(markup))))
    # Line ends of the source are white space; only blocks end lines.
    lines = (" ".join(line.split()) for line in text.split("\0"))
    return clean("\n".join(filter(None, lines)))


def _shown(markup: str) -> Iterator[str]:
    """The stretches of markup between comments and hidden elements.

    An unclosed element hides its start tag only, but for scripts and styles. The names without a further end tag are
    remembered, so that none is searched for twice.
    """
    unclosed: set[str] = set()
    position = 0
    while match := _HIDDEN_START.search(markup, position):
        yield markup[position : match.start()]
        position = match.end()
        if match[1] is None:
            found = markup.find("-->", position)
            position = len(markup) if found < 0 else found + 3
            continue
        name = match[1].lower()
        end = None if name in unclosed else _HIDDEN_END[name].search(markup, position)
        if end is not None:
            position = end.start()
        else:
            unclosed.add(name)
            if name in ("script", "style"):
                return
    yield markup[position:]


def _without_tags(markup: str) -> str:
    # Text and names of tags in turn: all loops are C's.
    pieces = _TAG.split(markup)
    pieces[1::2] = map(_SEPARATORS.__getitem__, pieces[1::2])
    return "".join(pieces)


def _without_entities(text: str) -> str:
    if "&" not in text:
        return text
    pieces = _ENTITY.split(text)
    known = {entity: html.unescape(entity) for entity in set(pieces[1::2])}
    pieces[1::2] = map(known.__getitem__, pieces[1::2])
    return "".join(pieces)


def _base64(data: Octets, start: int, end: int) -> bytes:
    view = memoryview(data)[start:end]
    try:
        return binascii.a2b_base64(view)
    except binascii.Error:
        # A broken end (cut off, or text appended by a mailing list): read what is whole.
        letters = _NOT_BASE64.sub(b"", bytes(view).partition(b"=")[0])
        letters = letters[: len(letters) - len(letters) % 4] if len(letters) % 4 == 1 else letters
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _uuencoded(data: Octets, start: int, end: int, limit: int | None) -> bytes:
    if limit is not None:
        end = min(end, start + 2 * limit + 4096)
    begin = _UU_LINE.search(data, start, end)
    if begin is None:
        return data[start:end]
    decoded = bytearray()
    for line in data[begin.end() : end].split(b"\n"):
        line = line.rstrip(b"\r")
        if line in (b"end", b"`") or (limit is not None and len(decoded) >= limit):
            break
        try:
            decoded += binascii.a2b_uu(line)
        except binascii.Error:
            continue
    return bytes(decoded)
