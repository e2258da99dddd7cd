"""Parameters of Content-Type and Content-Disposition (RFC 2045 5.1), and their RFC 2231 extensions.

Raw parameters are kept as the message has them (for IMAP); `decode_parameters` makes names and values of them (for
everything else). Lenient: unquoted values with spaces, missing quotes, comments, encoded words in values.
"""

import re
from urllib.parse import unquote_to_bytes

from posthorn_mail_format.charsets import clean, codec_name, decode
from posthorn_mail_format.encoded_words import decode_words

MAX_PARAMETERS = 50
MAX_VALUE = 16_384
_MAX_SEGMENTS = 100

_VALUE = re.compile(r"([^;()\"]*)")
# No input makes them slower than its length. (No possessive groups: see headers.py.)
_PARAMETER = re.compile(
    r"[;\s]*+([^=;\s\"]++)\s*+=\s*+(?:\"([^\"\\]*+(?:\\.[^\"\\]*+)*)(?:\"|\Z)[^;]*|([^;]*))", re.DOTALL
)
_OTHER = re.compile(r"[;\s]*+[^;]*+")
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SEGMENT = re.compile(r"([^*]+)(?:\*(\d{1,4}))?(\*)?\Z")

_CHARSET = re.compile(r"([^'%]*)'[^'%]*'")

Raw = tuple[tuple[str, str], ...]


def parse_value(text: str) -> tuple[str, Raw]:
    """Return the leading token in lower case ("text/plain", "attachment") and the raw parameters of an unfolded field.

    Values keep their bytes (surrogate escapes); names are in lower case, the first of a repeated name is kept.
    """
    text = text[:MAX_VALUE]
    head, _, rest = text.partition(";")
    match = _VALUE.match(head.strip())
    value = match[1].strip().lower() if match else ""
    return value, parse_parameters(rest)


def parse_parameters(text: str) -> Raw:
    """Return the raw parameters after the first semicolon, at most 50."""
    found: dict[str, str] = {}
    position = 0
    while position < len(text) and len(found) < MAX_PARAMETERS:
        match = _PARAMETER.match(text, position)
        if match is None:
            other = _OTHER.match(text, position)
            position = other.end() if other and other.end() > position else len(text)
            continue
        position = match.end()
        name = match[1].lower()
        if match[2] is not None:
            value = _ESCAPED.sub(r"\1", match[2]) if "\\" in match[2] else match[2]
        else:
            value = _without_comment(match[3].strip())
        found.setdefault(name, value)
    return tuple(found.items())


def decode_parameters(raw: Raw) -> dict[str, str]:
    """Return name to value with RFC 2231 continuations joined, charsets decoded and stray encoded words decoded."""
    plain: dict[str, str] = {}
    segmented: dict[str, dict[int, tuple[str, bool]]] = {}
    for name, value in raw:
        match = _SEGMENT.match(name) if "*" in name else None
        if match is None:
            plain.setdefault(name, clean(decode_words(value)))
        else:
            segments = segmented.setdefault(match[1], {})
            if len(segments) < _MAX_SEGMENTS:
                segments.setdefault(int(match[2] or 0), (value, match[3] is not None))
    for name, segments in segmented.items():
        # RFC 2231 wins over the plain form that senders add for old readers.
        plain[name] = _join(segments)
    return plain


def _without_comment(value: str) -> str:
    """Drop a comment at the end of an unquoted value: `us-ascii (Plain text)` is RFC 2045 5.1's own example."""
    if value.endswith(")"):
        start = value.rfind("(")
        if start == 0 or (start > 0 and value[start - 1].isspace()):
            return value[:start].rstrip()
    return value


def _join(segments: dict[int, tuple[str, bool]]) -> str:
    """Join numbered segments up to the first gap; the first one names the charset (RFC 2231 4.1).

    Some senders count from 1, and some name a charset in each segment: one that is known holds for what follows it.
    """
    pieces: list[str] = []
    charset: str | None = None
    octets = bytearray()
    first = min(segments)
    for expected, (number, (value, extended)) in enumerate(sorted(segments.items())):
        if number != first + expected:
            break
        named = _CHARSET.match(value) if extended else None
        if named is not None and (expected == 0 or codec_name(named[1]) is not None):
            if named[1].lower() != (charset or "").lower():
                pieces.append(decode(bytes(octets), charset or None))
                octets.clear()
            charset, value = named[1], value[named.end() :]
        raw = value.encode("utf-8", "surrogateescape")
        octets += unquote_to_bytes(raw) if extended else raw
    return "".join((*pieces, decode(bytes(octets), charset or None)))
