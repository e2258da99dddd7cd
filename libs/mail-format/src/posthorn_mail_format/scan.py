"""One scan of a message's bytes into a tree of MIME parts (RFC 2045, 2046) as offsets; nothing is copied.

It never fails: broken MIME degrades (a missing closing boundary ends with the part around it, a multipart without
parts is text/plain, too deep nesting is opaque), and everything is bounded. Work is done by regular expressions and
`bytes.find` over the whole buffer, never line by line.
"""

import re
from dataclasses import dataclass, replace
from itertools import accumulate, pairwise

from posthorn_mail_format.headers import MAX_HEADER_BYTES, field_at, header_end, text, unfold
from posthorn_mail_format.octets import Octets, count_octet
from posthorn_mail_format.parameters import Raw, parse_value
from posthorn_mail_format.part import Part
from posthorn_mail_format.text import quoted_printable

MAX_DEPTH = 50
MAX_PARTS = 1000
MAX_BOUNDARY = 250
"""RFC 2046 allows 70 octets; longer ones are in use."""
_MAX_CANDIDATES = 100_000
"""Lines that begin like a boundary and are none; after so many the rest is taken as it is."""
_MAX_SEARCHES = 16
"""How often an octet is searched for delimiters, on average: once for each multipart around it. Where most of a message
lies deeper than that, the innermost parts end with the part around them."""
_MAX_CONTENT_FIELDS = 100
_MAX_SHORT_VALUE = 2000

_CONTENT = re.compile(rb"^[Cc][Oo][Nn][Tt][Ee][Nn][Tt]-(?=[A-Za-z0-9-]++[ \t]*+:)", re.MULTILINE)
_AFTER_BOUNDARY = re.compile(rb"(--)?[ \t]*+(?:\r?\n|\Z)")
_TOKEN = re.compile(r"[!#$%&'*+\-.^_`{|}~0-9A-Za-z]{1,127}\Z")
_LANGUAGE = re.compile(r"[A-Za-z0-9-]{1,60}")
_COMMENT = re.compile(r"\([^()]*+\)")
_MESSAGE_TYPES = frozenset({"message/rfc822", "message/global"})
_NO_TYPE: Raw = (("charset", "us-ascii"),)


def scan(data: Octets) -> Part:
    """Return the part tree of a whole message. Never raises; depth <= 50, parts <= 1000 (RFC 2046)."""
    return _Scan(data).run()


@dataclass(slots=True)
class _Scan:
    data: Octets
    parts: int = 0
    messages: int = 0
    """Parts that are messages."""
    candidates: int = 0
    searched: int = 0
    """Octets that were searched for delimiters."""

    def run(self) -> Part:
        root = self.entity(0, len(self.data), 0, "text/plain")
        return _with_lines(self.data, root) if self.messages else root

    def entity(self, start: int, end: int, depth: int, default: str) -> Part:
        """The entity in data[start:end]: its header, then what its type says of its body."""
        self.parts += 1
        body = header_end(self.data, start, end)
        part = _described(self.data, start, body, end, default)
        if part.type == "multipart":
            return self.multipart(part, depth)
        if part.media_type in _MESSAGE_TYPES:
            if depth >= MAX_DEPTH or self.parts >= MAX_PARTS:
                return replace(part, type="application", subtype="octet-stream", decoded_size=part.size)
            self.messages += 1
            return replace(part, message=self.entity(body, end, depth + 1, "text/plain"), decoded_size=part.size)
        return part

    def multipart(self, part: Part, depth: int) -> Part:
        """A multipart with its children; without any it is plain text, too deep it is opaque."""
        if depth >= MAX_DEPTH or self.parts >= MAX_PARTS:
            return self.opaque(part, "application", "octet-stream")
        boundary = next((value for name, value in part.raw_params if name == "boundary"), "")
        if not boundary:
            boundary = part.params.get("boundary", "")
        octets = boundary.encode("utf-8", "surrogateescape").rstrip(b" \t\r\n")
        if not octets or len(octets) > MAX_BOUNDARY:
            return self.opaque(part, "text", "plain")
        # RFC 2046 5.1.5: the parts of a digest are messages unless they say otherwise.
        default = "message/rfc822" if part.subtype == "digest" else "text/plain"
        children = self.children(part, b"--" + octets, depth, default)
        return replace(part, children=children) if children else self.opaque(part, "text", "plain")

    def opaque(self, part: Part, kind: str, subtype: str) -> Part:
        """The multipart as a leaf."""
        size, lines = _measured(self.data, kind, part.encoding, part.body_start, part.body_end)
        return replace(part, type=kind, subtype=subtype, decoded_size=size, lines=lines)

    def children(self, part: Part, delimiter: bytes, depth: int, default: str) -> tuple[Part, ...]:
        found: list[Part] = []
        start, closed = self.first_delimiter(part, delimiter)
        while start >= 0 and not closed and self.parts < MAX_PARTS:
            if self.parts == MAX_PARTS - 1:
                # The last part allowed takes all that is left: nothing of the message is hidden.
                end, following = part.body_end, -1
            else:
                end, following, closed = self.next_delimiter(start, part.body_end, delimiter)
            found.append(self.entity(start, end, depth + 1, default))
            start = following
        return tuple(found)

    def first_delimiter(self, part: Part, delimiter: bytes) -> tuple[int, bool]:
        """Where the first part starts (-1: nowhere) and whether the multipart is closed at once."""
        if self.data.startswith(delimiter, part.body_start, part.body_end):
            match = _AFTER_BOUNDARY.match(self.data, part.body_start + len(delimiter), part.body_end)
            if match is not None:
                return match.end(), match[1] is not None
        _, following, closed = self.next_delimiter(part.body_start, part.body_end, delimiter)
        return following, closed

    def next_delimiter(self, start: int, end: int, delimiter: bytes) -> tuple[int, int, bool]:
        """The next delimiter line from `start` on: (end of the part before it, start of the next, whether it closes).

        The line end before a delimiter belongs to the delimiter (RFC 2046 5.1.1). Without one the part ends at `end`
        and the next start is -1.
        """
        data = self.data
        # From one before: the delimiter's line end may be the one of the delimiter line before it.
        position = max(start - 1, 0)
        needle = b"\n" + delimiter
        while self.candidates < _MAX_CANDIDATES and self.searched <= _MAX_SEARCHES * len(data):
            begun, position = position, data.find(needle, position, end)
            self.searched += (position if position >= 0 else end) - begun
            if position < 0:
                break
            match = _AFTER_BOUNDARY.match(data, position + len(needle), end)
            if match is None:
                self.candidates += 1
                position += len(needle)
                continue
            before = position
            if before > start and data[before - 1] == 0x0D:
                before -= 1
            return max(before, start), match.end(), match[1] is not None
        return end, -1, False


def _described(data: Octets, start: int, body: int, end: int, default: str) -> Part:
    """A part with what its Content-* fields say; the first field of a name counts."""
    fields = _content_fields(data, start, body)
    media_type, params = default, (_NO_TYPE if default == "text/plain" else ())
    content_type = fields.get(b"type")
    if content_type is not None:
        media_type, params = parse_value(text(content_type))
    kind, _, subtype = media_type.partition("/")
    kind, subtype = kind.strip(), subtype.strip()
    if not (_TOKEN.match(kind) and _TOKEN.match(subtype)):
        # RFC 2045 5.2 takes a broken type for text/plain; only a bare "text" is clear enough to keep its parameters.
        kind, subtype, params = "text", "plain", params if kind == "text" else _NO_TYPE
    disposition: str | None = None
    disposition_params: Raw = ()
    if b"disposition" in fields:
        token, disposition_params = parse_value(text(fields[b"disposition"]))
        disposition = token if _TOKEN.match(token) else "attachment"
    encoding = _encoding(fields.get(b"transfer-encoding"))
    decoded_size, lines = 0, 0
    if kind != "multipart" and f"{kind}/{subtype}" not in _MESSAGE_TYPES:
        decoded_size, lines = _measured(data, kind, encoding, body, end)
    return Part(
        start, body, end, kind, subtype, params,
        encoding=encoding,
        disposition=disposition,
        raw_disposition_params=disposition_params,
        content_id=_short(fields.get(b"id")),
        description=_short(fields.get(b"description")),
        language=_languages(fields.get(b"language")),
        location=_short(fields.get(b"location")),
        md5=_short(fields.get(b"md5")),
        lines=lines,
        decoded_size=decoded_size,
    )  # fmt: skip


def _content_fields(data: Octets, start: int, body: int) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    if body == start:
        return found
    stop = min(body, start + MAX_HEADER_BYTES)
    header = data[start:stop]
    for count, match in enumerate(_CONTENT.finditer(header)):
        if count >= _MAX_CONTENT_FIELDS:
            break
        field = field_at(header, match.start(), len(header))
        if field is not None:
            found.setdefault(field.name[8:].lower(), field.value)
    return found


def _encoding(value: bytes | None) -> str:
    if value is None:
        return "7bit"
    token = _COMMENT.sub("", text(value)[:200]).strip(" \t\"';").lower()
    return token if _TOKEN.match(token) else "7bit"


def _short(value: bytes | None) -> str | None:
    if value is None:
        return None
    return unfold(value)[:_MAX_SHORT_VALUE].decode("utf-8", "surrogateescape") or None


def _languages(value: bytes | None) -> tuple[str, ...]:
    return tuple(_LANGUAGE.findall(_COMMENT.sub("", text(value)[:1000]))[:20]) if value else ()


def _measured(data: Octets, kind: str, encoding: str, start: int, end: int) -> tuple[int, int]:
    """Of a leaf's body: octets once decoded, and line ends when it is text (else 0).

    Base64 is counted, not decoded: white space is only CR and LF there.
    """
    lines = count_octet(data, b"\n", start, end) if kind == "text" or encoding == "base64" else 0
    size = end - start
    if encoding == "base64":
        tail = data[max(start, end - 8) : end].rstrip()
        letters = size - lines - count_octet(data, b"\r", start, end) - tail.count(b"=")
        size = max(letters, 0) * 3 // 4
    elif encoding == "quoted-printable":
        size = sum(map(len, quoted_printable(data, start, end)))
    return size, lines if kind == "text" else 0


def _with_lines(data: Octets, root: Part) -> Part:
    """The tree with `lines` of messages inside. Each octet is looked at once, however deep they are nested."""
    messages = [part for part in root.walk() if part.message is not None]
    offsets = sorted({0} | {part.body_start for part in messages} | {part.body_end for part in messages})
    between = (count_octet(data, b"\n", first, last) for first, last in pairwise(offsets))
    before = dict(zip(offsets, accumulate(between, initial=0), strict=True))

    def fill(part: Part) -> Part:
        if part.message is not None:
            return replace(part, message=fill(part.message), lines=before[part.body_end] - before[part.body_start])
        return replace(part, children=tuple(map(fill, part.children))) if part.children else part

    return fill(root)
