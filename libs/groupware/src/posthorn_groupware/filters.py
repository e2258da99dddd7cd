"""What CalDAV and CardDAV filters share: text matches and parameter filters (RFC 4791 9.7, RFC 6352 10.5)."""

from collections.abc import Iterable
from dataclasses import dataclass

MATCH_TYPES = ("equals", "contains", "starts-with", "ends-with")
COLLATIONS = ("i;ascii-casemap", "i;unicode-casemap", "i;octet")


@dataclass(frozen=True, slots=True)
class TextMatch:
    """A text-match: substring by default; `match_type` is CardDAV's; `collation` one of COLLATIONS."""

    text: str
    collation: str = "i;ascii-casemap"
    match_type: str = "contains"
    negate: bool = False

    def matches(self, value: str) -> bool:
        """Whether the value matches under the collation."""
        wanted, found = _fold(self.text, self.collation), _fold(value, self.collation)
        hit = {
            "equals": found == wanted,
            "contains": wanted in found,
            "starts-with": found.startswith(wanted),
            "ends-with": found.endswith(wanted),
        }[self.match_type]
        return hit != self.negate


@dataclass(frozen=True, slots=True)
class ParamFilter:
    """A param-filter: the parameter is there, is not there, or its value matches."""

    name: str
    is_not_defined: bool = False
    text: TextMatch | None = None

    def matches(self, values: Iterable[str] | None) -> bool:
        """Whether the parameter's values (None: the parameter is absent) match."""
        if values is None or self.is_not_defined:
            return (values is None) == self.is_not_defined
        return self.text is None or any(self.text.matches(value) for value in values)


def _fold(text: str, collation: str) -> str:
    if collation == "i;octet":
        return text
    if collation == "i;unicode-casemap":
        return text.casefold()
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)
