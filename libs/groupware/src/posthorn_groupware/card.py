"""vCards (RFC 2426, RFC 6350): content lines, validation, and CardDAV filters over them (RFC 6352 10.5).

A card is stored as its client sent it; what is read here is only what filters and listings need.
"""

from dataclasses import dataclass

from icalendar.parser import Contentline, Contentlines

from posthorn_groupware.filters import ParamFilter, TextMatch
from posthorn_model.errors import InvalidContent

MAX_LINES = 5_000


@dataclass(frozen=True, slots=True)
class Property:
    """One content line: upper-case name without group, parameters by upper-case name, value with escapes undone."""

    name: str
    params: dict[str, tuple[str, ...]]
    value: str


@dataclass(frozen=True, slots=True)
class Card:
    """A parsed vCard."""

    uid: str
    version: str
    properties: tuple[Property, ...]

    def values(self, name: str) -> list[str]:
        """The values of all properties of that name."""
        return [prop.value for prop in self.properties if prop.name == name.upper()]


def parse(content: bytes) -> Card:
    """Parse and validate one vCard 3.0 or 4.0 with a UID. Raises InvalidContent with a sentence for people."""
    try:
        lines: list[Contentline] = Contentlines.from_ical(content.decode("utf-8"))  # type: ignore[no-untyped-call]
    except UnicodeDecodeError as error:
        raise InvalidContent("a vCard is UTF-8 text (RFC 6350 3.1)") from error
    except ValueError as error:
        raise InvalidContent(f"not a valid vCard: {error}") from error
    if len(lines) > MAX_LINES:
        raise InvalidContent(f"a vCard of more than {MAX_LINES} lines is not stored")
    properties = [_property(line) for line in lines if line.strip()]
    edges = [(p.name, p.value.upper()) for p in properties if p.name in ("BEGIN", "END")]
    if edges != [("BEGIN", "VCARD"), ("END", "VCARD")] or properties[0].name != "BEGIN" or properties[-1].name != "END":
        raise InvalidContent("a contact is exactly one vCard: BEGIN:VCARD to END:VCARD")
    card = Card("", "", tuple(properties[1:-1]))
    version = (card.values("VERSION") or [""])[0]
    if version not in ("3.0", "4.0"):
        raise InvalidContent(f"vCard version {version or 'none'} is not stored: 3.0 and 4.0 are (RFC 6352 5.1)")
    uids = card.values("UID")
    if len(uids) != 1 or not uids[0]:
        raise InvalidContent("a stored vCard needs exactly one UID (RFC 6352 5.1)")
    return Card(uids[0], version, card.properties)


def _property(line: Contentline) -> Property:
    try:
        name, params, value = line.parts()
    except ValueError as error:
        raise InvalidContent(f"not a vCard line: {str(line)[:60]!r}") from error
    listed = {
        key.upper(): tuple(str(v) for v in found) if isinstance(found, list) else (str(found),)
        for key, found in params.items()
    }
    return Property(name.upper().rpartition(".")[2], listed, _unescape(value))


def _unescape(value: str) -> str:
    if "\\" not in value:
        return value
    parts = value.split("\\\\")
    return "\\".join(p.replace("\\n", "\n").replace("\\N", "\n").replace("\\,", ",").replace("\\;", ";") for p in parts)


@dataclass(frozen=True, slots=True)
class PropFilter:
    """A CardDAV prop-filter; `all_of` joins its text matches and parameter filters by AND instead of OR."""

    name: str
    is_not_defined: bool = False
    texts: tuple[TextMatch, ...] = ()
    params: tuple[ParamFilter, ...] = ()
    all_of: bool = False

    def matches(self, card: Card) -> bool:
        """Whether the card's properties of this name match."""
        found = [prop for prop in card.properties if prop.name == self.name.upper()]
        if self.is_not_defined or not found:
            return self.is_not_defined and not found
        tests = [any(text.matches(prop.value) for prop in found) for text in self.texts]
        tests += [any(f.matches(prop.params.get(f.name.upper())) for prop in found) for f in self.params]
        return (all if self.all_of else any)(tests) if tests else True


@dataclass(frozen=True, slots=True)
class Filter:
    """A CardDAV filter: prop-filters joined by OR, or by AND with `all_of`; an empty one matches every card."""

    props: tuple[PropFilter, ...] = ()
    all_of: bool = False

    def matches(self, card: Card) -> bool:
        """Whether the card matches."""
        if not self.props:
            return True
        return (all if self.all_of else any)(prop.matches(card) for prop in self.props)
