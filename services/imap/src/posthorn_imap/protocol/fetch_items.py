"""What FETCH may ask for: its items as values, read from a command (RFC 9051 6.4.5, 3516, 7162, 8474, 8970)."""

import re
from dataclasses import dataclass
from enum import Enum

from posthorn_imap.protocol.cursor import MAX_NUMBER, Cursor, SyntaxProblem

MAX_PART_DEPTH = 100
_NAME = re.compile(rb"[A-Za-z0-9.]+")
_SECTION_WORD = re.compile(rb"[A-Za-z.]+")


class Item(Enum):
    """Items without arguments; the value is the name in the response."""

    UID = b"UID"
    FLAGS = b"FLAGS"
    MODSEQ = b"MODSEQ"
    INTERNALDATE = b"INTERNALDATE"
    SIZE = b"RFC822.SIZE"
    ENVELOPE = b"ENVELOPE"
    BODY = b"BODY"
    BODYSTRUCTURE = b"BODYSTRUCTURE"
    EMAILID = b"EMAILID"
    THREADID = b"THREADID"
    PREVIEW = b"PREVIEW"
    SAVEDATE = b"SAVEDATE"


class What(Enum):
    """Which octets of a part a section names."""

    WHOLE = b""
    HEADER = b"HEADER"
    FIELDS = b"HEADER.FIELDS"
    FIELDS_NOT = b"HEADER.FIELDS.NOT"
    TEXT = b"TEXT"
    MIME = b"MIME"


@dataclass(frozen=True, slots=True)
class Section:
    """A body section: BODY[part.what]<start.length>.

    `name` is how the response calls it, as in b"BODY[1.MIME]" or b"RFC822"; `peek`: \\Seen is not set.
    """

    part: tuple[int, ...] = ()
    what: What = What.WHOLE
    fields: tuple[bytes, ...] = ()
    """Names of header fields as the client wrote them."""
    start: int | None = None
    length: int = 0
    peek: bool = False
    name: bytes = b"BODY[]"


@dataclass(frozen=True, slots=True)
class Decoded:
    """BINARY[part]<start.length>: a part without its transfer encoding (RFC 9051 6.4.5, RFC 3516); no part: all of it.

    `name` is how the response calls it; `peek`: \\Seen is not set.
    """

    part: tuple[int, ...] = ()
    start: int | None = None
    length: int = 0
    peek: bool = False
    name: bytes = b"BINARY[]"


@dataclass(frozen=True, slots=True)
class DecodedSize:
    """BINARY.SIZE[part]: how many octets BINARY would give."""

    part: tuple[int, ...] = ()
    name: bytes = b"BINARY.SIZE[]"


Content = Section | Decoded
"""What is taken from the octets of a message."""
FetchItem = Item | Section | Decoded | DecodedSize

_MACROS = {
    b"FAST": (Item.FLAGS, Item.INTERNALDATE, Item.SIZE),
    b"ALL": (Item.FLAGS, Item.INTERNALDATE, Item.SIZE, Item.ENVELOPE),
    b"FULL": (Item.FLAGS, Item.INTERNALDATE, Item.SIZE, Item.ENVELOPE, Item.BODY),
}
_PLAIN = {item.value: item for item in Item}
_OLD = {
    b"RFC822": Section(name=b"RFC822"),
    b"RFC822.HEADER": Section(what=What.HEADER, peek=True, name=b"RFC822.HEADER"),
    b"RFC822.TEXT": Section(what=What.TEXT, name=b"RFC822.TEXT"),
}


def fetch_items(cursor: Cursor) -> tuple[FetchItem, ...]:
    """Read the items of FETCH: a macro, one item or a list; each is there once."""
    if cursor.peek() == b"(":
        return tuple(dict.fromkeys(cursor.listed(_item)))
    name = _name(cursor)
    return _MACROS[name] if name in _MACROS else (_named(cursor, name),)


def _name(cursor: Cursor) -> bytes:
    found = cursor.match(_NAME)
    if found is None:
        raise SyntaxProblem("expected a FETCH item")
    return found[0].upper()


def _item(cursor: Cursor) -> FetchItem:
    return _named(cursor, _name(cursor))


def _named(cursor: Cursor, name: bytes) -> FetchItem:
    if name in (b"BODY", b"BODY.PEEK") and cursor.peek() == b"[":
        return _section(cursor, peek=name != b"BODY")
    if name in (b"BINARY", b"BINARY.PEEK"):
        return _decoded(cursor, peek=name != b"BINARY")
    if name == b"BINARY.SIZE":
        part, written = _bracketed_part(cursor)
        return DecodedSize(part, name + written)
    if name in _PLAIN:
        if name == b"PREVIEW" and cursor.accept(b" (LAZY)"):
            return Item.PREVIEW  # RFC 8970 3.1: previews are stored, none is too slow
        return _PLAIN[name]
    if name in _OLD:
        return _OLD[name]
    raise SyntaxProblem(f"unknown FETCH item {name.decode()}")


def _decoded(cursor: Cursor, *, peek: bool) -> Decoded:
    part, written = _bracketed_part(cursor)
    start, length = _partial(cursor)
    name = b"BINARY" + written + (b"" if start is None else b"<%d>" % start)
    return Decoded(part, start, length, peek, name)


def _bracketed_part(cursor: Cursor) -> tuple[tuple[int, ...], bytes]:
    """A part number in brackets, perhaps none, and how it is written."""
    cursor.expect(b"[")
    part: list[int] = []
    while not cursor.accept(b"]"):
        if part:
            cursor.expect(b".")
        part.append(cursor.nonzero())
        if len(part) > MAX_PART_DEPTH:
            raise SyntaxProblem("body section too deep")
    return tuple(part), b"[" + b".".join(b"%d" % number for number in part) + b"]"


def _section(cursor: Cursor, *, peek: bool) -> Section:
    cursor.expect(b"[")
    part: list[int] = []
    what: What = What.WHOLE
    fields: tuple[bytes, ...] = ()
    while cursor.peek().isdigit():
        part.append(cursor.nonzero())
        if len(part) > MAX_PART_DEPTH:
            raise SyntaxProblem("body section too deep")
        if not cursor.accept(b"."):
            break
        if not cursor.peek().isdigit():
            what, fields = _section_text(cursor)
    if not part and cursor.peek() != b"]":
        what, fields = _section_text(cursor)
    if what is What.MIME and not part:
        raise SyntaxProblem("MIME needs a part number")
    cursor.expect(b"]")
    start, length = _partial(cursor)
    return Section(tuple(part), what, fields, start, length, peek, _written(part, what, fields, start))


def _section_text(cursor: Cursor) -> tuple[What, tuple[bytes, ...]]:
    word = cursor.match(_SECTION_WORD)
    try:
        what = What(word[0].upper() if word else b"?")
    except ValueError:
        raise SyntaxProblem("unknown body section") from None
    if what not in (What.FIELDS, What.FIELDS_NOT):
        return what, ()
    cursor.space()
    return what, tuple(cursor.listed(Cursor.astring))


def _partial(cursor: Cursor) -> tuple[int | None, int]:
    if not cursor.accept(b"<"):
        return None, 0
    start = cursor.number(MAX_NUMBER)
    cursor.expect(b".")
    length = cursor.nonzero(MAX_NUMBER)
    cursor.expect(b">")
    return start, length


def _written(part: list[int], what: What, fields: tuple[bytes, ...], start: int | None) -> bytes:
    text = b".".join([*(b"%d" % number for number in part), *([what.value] if what.value else [])])
    if fields:
        text += b" (" + b" ".join(_field(name) for name in fields) + b")"
    return b"BODY[" + text + b"]" + (b"" if start is None else b"<%d>" % start)


def _field(name: bytes) -> bytes:
    if re.fullmatch(rb'[^\x00-\x20\x7f-\xff(){%*"\\\]]+', name):
        return name
    if any(octet in b"\r\n" or octet > 126 for octet in name):
        raise SyntaxProblem("invalid header field name")
    return b'"' + name.replace(b"\\", b"\\\\").replace(b'"', b'\\"') + b'"'
