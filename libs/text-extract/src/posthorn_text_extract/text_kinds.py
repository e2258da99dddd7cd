"""Documents that are text already: plain text and CSV, HTML, iCalendar, vCard, messages."""

import codecs
import quopri
import re
from collections.abc import Callable, Iterator

from posthorn_mail_format.attachments import Attachment, attachments
from posthorn_mail_format.charsets import decode
from posthorn_mail_format.headers import decode_text, find, iterate
from posthorn_mail_format.scan import scan
from posthorn_mail_format.summary import search_text
from posthorn_mail_format.text import html_to_text
from posthorn_text_extract.kinds import Kind
from posthorn_text_extract.reading import Reading

_MARKS = ((codecs.BOM_UTF8, "utf-8"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
_META_CHARSET = re.compile(rb"<meta[^<>]{1,200}?charset\s{0,9}=\s{0,9}[\"']?([A-Za-z0-9_:.-]{1,40})", re.IGNORECASE)
_FOLD = re.compile(r"\r?\n[ \t]")
_SOFT_BREAK = re.compile(r"=\r?\n")
# A content line: a group, a name, parameters, a value (RFC 5545 3.1, RFC 6350 3.3).
_CONTENT_LINE = re.compile(
    r"^(?:[A-Za-z0-9-]+\.)?([A-Za-z0-9-]+)((?:;[^:\"\n]*(?:\"[^\"\n]*\"[^:\"\n]*)*)?):(.*)$", re.M
)
_COMMON_NAME = re.compile(r";CN=\"?([^\";:]*)", re.IGNORECASE)
_ESCAPED = re.compile(r"\\(.)")
_CALENDAR_NAMES = frozenset(
    {"SUMMARY", "DESCRIPTION", "LOCATION", "COMMENT", "CATEGORIES", "ORGANIZER", "ATTENDEE", "CONTACT", "URL"}
)
_CARD_NAMES = frozenset({"FN", "N", "NICKNAME", "ORG", "TITLE", "ROLE", "EMAIL", "TEL", "ADR", "NOTE", "URL", "IMPP"})
_MESSAGE_FIELDS = ("subject", "from", "to", "cc")


def read_plain(data: bytes, charset: str | None, reading: Reading) -> None:
    """Text and CSV: by the byte order mark, the named charset, or a guess."""
    reading.add(_decoded(data, charset, reading))


def read_html(data: bytes, charset: str | None, reading: Reading) -> None:
    """HTML without its markup; a charset named only inside is used."""
    named = None if charset else _META_CHARSET.search(data, 0, 4096)
    markup = _decoded(data, charset or (named[1].decode("ascii") if named else None), reading)
    reading.add(html_to_text(markup))


def read_calendar(data: bytes, charset: str | None, reading: Reading) -> None:
    """The words of iCalendar: what, where, who."""
    _content_lines(_decoded(data, charset or "utf-8", reading), _CALENDAR_NAMES, reading)


def read_card(data: bytes, charset: str | None, reading: Reading) -> None:
    """The words of vCard: names, organisations, addresses, notes."""
    _content_lines(_decoded(data, charset or "utf-8", reading), _CARD_NAMES, reading)


READERS: dict[Kind, Callable[[bytes, str | None, Reading], None]] = {
    "plain": read_plain,
    "html": read_html,
    "calendar": read_calendar,
    "card": read_card,
}


def read_message(data: bytes, reading: Reading) -> Iterator[Attachment]:
    """Gather subject, people and text of a message, then yield its attachments for their own readers."""
    root = scan(data)
    fields = list(iterate(data, root.header_start, root.body_start))
    for name in _MESSAGE_FIELDS:
        value = find(fields, name)
        if value is not None:
            reading.add(decode_text(value) + "\n")
    reading.add(search_text(data, root, reading.left))
    yield from attachments(data, root, octets=reading.limits.expanded_octets)


def _decoded(data: bytes, charset: str | None, reading: Reading) -> str:
    # No more octets than can give the characters that are kept, markup included.
    data = data[: 8 * reading.limits.characters]
    for mark, name in _MARKS:
        if data.startswith(mark):
            return decode(data[len(mark) :] if name == "utf-8" else data, name)
    return decode(data, charset)


def _content_lines(text: str, names: frozenset[str], reading: Reading) -> None:
    if "QUOTED-PRINTABLE" in text.upper():
        text = _SOFT_BREAK.sub("", text)
    for match in _CONTENT_LINE.finditer(_FOLD.sub("", text).replace("\r", "")):
        name, parameters, value = match[1].upper(), match[2], match[3]
        if name not in names:
            continue
        if "QUOTED-PRINTABLE" in parameters.upper():
            # vCard 2.1 and its kind.
            value = quopri.decodestring(value.encode("utf-8", "replace")).decode("utf-8", "replace")
        common_name = _COMMON_NAME.search(parameters)
        if common_name is not None:
            reading.add(common_name[1] + " ")
        value = _ESCAPED.sub(lambda escaped: "\n" if escaped[1] in "nN" else escaped[1], value)
        if name in ("N", "ADR", "ORG"):
            value = value.replace(";", " ")
        reading.add(value.removeprefix("mailto:") + "\n")
