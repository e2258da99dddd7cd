"""Text of office documents that are zip packages of XML: OOXML (ECMA-376: docx, xlsx, pptx) and ODF (ISO 26300).

One pass over the XML of the members that hold text, by expat. What may go wrong is bounded: members are unpacked piece
by piece and counted, only the two methods of the standards are unpacked, entities are refused where they are declared
(neither standard has any), nothing outside the package is ever read.
"""

import re
import zipfile
import zlib
from dataclasses import dataclass
from io import BytesIO
from xml.parsers import expat

from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.reading import Reading

_PIECE = 1_048_576
"""Octets given to expat at once: old versions read a long token again for each piece."""
_NUMBER = re.compile(r"(\d+)")
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_ENCRYPTED = 0x1


@dataclass(frozen=True, slots=True)
class Shape:
    """Which members of a package hold text, and in which elements (local names) it stands."""

    members: re.Pattern[str]
    text: frozenset[str]
    lines: frozenset[str]
    """Elements whose end ends a line."""
    spaces: frozenset[str]
    hidden: frozenset[str] = frozenset()
    named: frozenset[str] = frozenset()
    """Elements whose attribute `name` is text too: sheets."""


_PROPERTIES = Shape(
    re.compile(r"docProps/core\.xml|meta\.xml"),
    frozenset({"title", "subject", "creator", "keywords", "keyword", "description"}),
    frozenset({"title", "subject", "creator", "keywords", "keyword", "description"}),
    frozenset(),
)
_SHAPES = (
    _PROPERTIES,
    Shape(
        re.compile(r"word/(?:document|footnotes|endnotes|comments|header\d*|footer\d*)\.xml"),
        frozenset({"t"}),
        frozenset({"p", "br", "cr"}),
        frozenset({"tab", "tc"}),
    ),
    Shape(re.compile(r"xl/workbook\.xml"), frozenset(), frozenset(), frozenset(), named=frozenset({"sheet"})),
    Shape(
        re.compile(r"xl/(?:sharedStrings|comments\d*|worksheets/[^/]+)\.xml"),
        frozenset({"t", "v"}),
        frozenset({"si", "row", "comment"}),
        frozenset({"c"}),
    ),
    Shape(
        re.compile(r"ppt/(?:slides|notesSlides)/[^/]+\.xml"),
        frozenset({"t"}),
        frozenset({"p", "br"}),
        frozenset({"tab", "tc"}),
    ),
    Shape(
        re.compile(r"content\.xml"),
        frozenset({"p", "h"}),
        frozenset({"p", "h", "line-break", "table-row"}),
        frozenset({"s", "tab", "table-cell"}),
        # The text that was deleted under change tracking.
        frozenset({"tracked-changes"}),
        frozenset({"table"}),
    ),
)


def read(data: bytes, reading: Reading) -> None:
    """Gather the text of an office document. A member that is broken ends with what was read of it."""
    try:
        package = zipfile.ZipFile(BytesIO(data))
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError) as error:
        raise Unreadable("the document is no readable package") from error
    members = _members(package)
    if not members:
        raise Unreadable("the package is no document of a known kind")
    failed: Exception | None = None
    for info, shape in members[: reading.limits.members]:
        try:
            _read_member(package, info, shape, reading)
        except (expat.ExpatError, zipfile.BadZipFile, zlib.error, OSError, EOFError, NotImplementedError) as error:
            failed = error
        except (LookupError, ValueError, RuntimeError) as error:
            # Wrong names of encodings, and zipfile's word for "encrypted".
            failed = error
    if failed is not None and not reading.text():
        raise Unreadable("the package is broken", detail=str(failed)[:200]) from failed


def _members(package: zipfile.ZipFile) -> list[tuple[zipfile.ZipInfo, Shape]]:
    """The members that hold text: properties, then the rest in the order of their numbers."""
    found = []
    for info in package.infolist():
        for place, shape in enumerate(_SHAPES):
            if shape.members.fullmatch(info.filename):
                if info.flag_bits & _ENCRYPTED:
                    raise Unreadable("the document is locked with a password")
                if info.compress_type in _METHODS:
                    found.append((place, _in_order(info.filename), info, shape))
                break
    found.sort(key=lambda entry: entry[:2])
    return [(info, shape) for _, _, info, shape in found]


def _in_order(name: str) -> list[tuple[int, int, str]]:
    """A key that puts slide2 before slide10."""
    return [(0, int(piece[:9]), "") if piece.isdigit() else (1, 0, piece) for piece in _NUMBER.split(name) if piece]


def _read_member(package: zipfile.ZipFile, info: zipfile.ZipInfo, shape: Shape, reading: Reading) -> None:
    parser = expat.ParserCreate(namespace_separator=" ")
    parser.buffer_text = True
    parser.EntityDeclHandler = _refuse_entity
    handlers = _Handlers(shape, reading)
    parser.StartElementHandler = handlers.start
    parser.EndElementHandler = handlers.end
    parser.CharacterDataHandler = handlers.characters
    with package.open(info) as member:
        while piece := member.read(_PIECE):
            reading.unpacked(len(piece))
            parser.Parse(piece, False)
        parser.Parse(b"", True)


def _refuse_entity(*_: object) -> None:
    raise Unreadable("the document declares XML entities")


class _Handlers:
    """Expat's callbacks: text of the wanted elements goes to the reading."""

    __slots__ = ("hidden", "inside", "reading", "shape", "shared")

    def __init__(self, shape: Shape, reading: Reading) -> None:
        self.shape = shape
        self.reading = reading
        self.inside = 0
        self.hidden = 0
        self.shared = False

    def start(self, name: str, attributes: dict[str, str]) -> None:
        local = name.rpartition(" ")[2]
        if local in self.shape.named:
            self.reading.add(
                "".join(f"{value}\n" for key, value in attributes.items() if key.rpartition(" ")[2] == "name")
            )
        if local in self.shape.hidden:
            self.hidden += 1
        elif local == "c":
            # A cell of a sheet whose value is the number of a shared string, not text of its own.
            self.shared = attributes.get("t") == "s"
        elif local in self.shape.text and not (local == "v" and self.shared):
            self.inside += 1

    def end(self, name: str) -> None:
        local = name.rpartition(" ")[2]
        if local in self.shape.hidden:
            self.hidden -= 1
        elif local in self.shape.text and not (local == "v" and self.shared):
            self.inside -= 1
        if local in self.shape.lines:
            self.reading.add("\n")
        elif local in self.shape.spaces:
            self.reading.add(" ")

    def characters(self, text: str) -> None:
        if self.inside and not self.hidden:
            self.reading.add(text)
