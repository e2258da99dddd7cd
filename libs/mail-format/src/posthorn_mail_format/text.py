"""A part's body as bytes or text: transfer encoding and charset undone, HTML made plain. Bounded, never failing.

The HTML reader is one pass of a regular expression and not html.parser, which takes quadratic time on hostile markup.
It looks for readable text only: it neither checks nor cleans HTML for display.
"""

import binascii
import html
import re

from posthorn_mail_format.charsets import clean, codec_name, decode
from posthorn_mail_format.part import Part

MAX_TEXT = 1_048_576
"""Octets of a decoded body that are looked at unless the caller says otherwise."""

_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/]")
_UU_LINE = re.compile(rb"^begin [0-7]{3,4} [^\n]*+\n", re.MULTILINE)
_TAG = re.compile(r"<(?:(/?)([A-Za-z][A-Za-z0-9]*+)[^<>]*+|(!--)|[!?/][^<>]*+)>?")
_ENTITY = re.compile(r"&(?:#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6}|[A-Za-z][A-Za-z0-9]{1,31});?")
_SPACES = re.compile(r"[^\S\n]+")
_LINES = re.compile(r" ?\n(?: ?\n)+ ?| ?\n ?")
_HIDDEN = frozenset({"script", "style", "head", "title", "template", "noscript", "svg", "math", "object"})
_BLOCKS = frozenset({
    "address", "article", "aside", "blockquote", "br", "center", "dd", "div", "dl", "dt", "fieldset", "footer",
    "form", "h1", "h2", "h3", "h4", "h5", "h6", "header", "hr", "li", "main", "nav", "ol", "option", "p", "pre",
    "section", "table", "tbody", "tfoot", "thead", "tr", "ul",
})  # fmt: skip
_CELLS = frozenset({"td", "th"})


def decode_bytes(data: bytes, part: Part, limit: int | None = None) -> bytes:
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
        decoded = binascii.a2b_qp(memoryview(data)[start:end])
    elif part.encoding in ("x-uuencode", "uuencode", "x-uue", "uue"):
        decoded = _uuencoded(data, start, end, limit)
    else:
        return data[start : end if limit is None else min(end, start + limit)]
    return decoded if limit is None else decoded[:limit]


def decode_text(data: bytes, part: Part, limit: int = MAX_TEXT) -> str:
    """Return the body of a text part as text with LF line ends, of at most `limit` decoded octets."""
    text = decode(decode_bytes(data, part, limit), part.charset)
    return text.replace("\r\n", "\n") if "\r" in text else text


def has_encoding_problem(data: bytes, part: Part) -> bool:
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


def plain_text(data: bytes, part: Part, limit: int = MAX_TEXT) -> str:
    """Return a text part as readable text; HTML without its markup."""
    text = decode_text(data, part, limit)
    return html_to_text(text) if part.subtype in ("html", "xhtml", "xml") else text


def html_to_text(markup: str) -> str:
    """Return the readable text of HTML: scripts, styles, comments and tags go, blocks end lines, entities are read."""
    pieces: list[str] = []
    unclosed: set[str] = set()
    position = 0
    while position < len(markup):
        match = _TAG.search(markup, position)
        if match is None:
            pieces.append(markup[position:])
            break
        pieces.append(markup[position : match.start()])
        position = match.end()
        name = (match[2] or "").lower()
        if match[3]:
            position = _after(markup, "-->", match.start() + 4)
        elif name in _HIDDEN and not match[1]:
            position = _after_hidden(markup, name, position, unclosed)
        elif name in _BLOCKS:
            pieces.append("\x00")
        elif name in _CELLS:
            pieces.append(" ")
    # Line ends of the source are white space; only blocks (marked by NUL, which `decode` never yields) end lines.
    text = "".join(pieces).replace("\n", " ").replace("\x00", "\n")
    text = clean(_ENTITY.sub(lambda entity: html.unescape(entity[0]), text))
    return _LINES.sub("\n", _SPACES.sub(" ", text)).strip()


def _after(markup: str, mark: str, position: int) -> int:
    found = markup.find(mark, position)
    return len(markup) if found < 0 else found + len(mark)


def _after_hidden(markup: str, name: str, position: int, unclosed: set[str]) -> int:
    """The offset of the end tag of a hidden element; an unclosed one hides its start tag only, but for scripts.

    `unclosed` remembers the names without a further end tag, so that none is searched for twice.
    """
    match = None
    if name not in unclosed:
        match = re.compile(rf"</{name}(?=[\s>/])", re.IGNORECASE).search(markup, position)
    if match is not None:
        return match.start()
    unclosed.add(name)
    return len(markup) if name in ("script", "style") else position


def _base64(data: bytes, start: int, end: int) -> bytes:
    view = memoryview(data)[start:end]
    try:
        return binascii.a2b_base64(view)
    except binascii.Error:
        # A broken end (cut off, or text appended by a mailing list): read what is whole.
        letters = _NOT_BASE64.sub(b"", bytes(view).partition(b"=")[0])
        letters = letters[: len(letters) - len(letters) % 4] if len(letters) % 4 == 1 else letters
        return binascii.a2b_base64(letters + b"=" * (-len(letters) % 4))


def _uuencoded(data: bytes, start: int, end: int, limit: int | None) -> bytes:
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
