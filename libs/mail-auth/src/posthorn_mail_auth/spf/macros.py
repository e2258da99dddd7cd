"""Macros of SPF (RFC 7208 7): strings are parsed once, strictly, and expanded when they are needed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import quote

MAX_NAME = 253
MAX_EXPANDED = 4096
"""Characters of an expanded string; what is longer is cut."""
IN_DOMAINS = frozenset("slodiphv")
IN_EXPLANATIONS = IN_DOMAINS | frozenset("crt")
_MACRO = re.compile(r"%(?:\{([a-zA-Z])([0-9]{0,3})(r?)([.\-+,/_=]{0,7})\}|([%_-]))", re.IGNORECASE)
_LITERAL = re.compile(r"[!-$&-~]+")
_LITERAL_OR_SPACE = re.compile(r"[ -$&-~]+")
_DOMAIN_END = re.compile(r"\.(?:[A-Za-z0-9]*[A-Za-z][A-Za-z0-9]*|[A-Za-z0-9]+-[A-Za-z0-9-]*[A-Za-z0-9])\.?\Z")
_SIMPLE = {"%": "%", "_": " ", "-": "%20"}


class InvalidMacro(ValueError):
    """The text is no macro string."""


@dataclass(frozen=True, slots=True)
class Macro:
    """One expansion, such as %{d2r-}."""

    letter: str
    keep: int
    """How many parts from the right, 0 for all."""
    reverse: bool
    delimiters: str
    escape: bool
    """In upper case: what is not unreserved becomes %xx."""

    def expand(self, values: Mapping[str, str]) -> str:
        """The value of the letter, taken apart and put together with dots."""
        text = values[self.letter]
        if self.keep or self.reverse or self.delimiters != ".":
            parts = re.split("[" + re.escape(self.delimiters) + "]", text)
            if self.reverse:
                parts.reverse()
            text = ".".join(parts[-self.keep :] if self.keep else parts)
        return quote(text, safe="-._~", errors="replace") if self.escape else text


@dataclass(frozen=True, slots=True)
class MacroString:
    """Literal text and macros in turn."""

    parts: tuple[str | Macro, ...]

    @property
    def letters(self) -> frozenset[str]:
        """Which values an expansion needs."""
        return frozenset(part.letter for part in self.parts if isinstance(part, Macro))

    def expand(self, values: Mapping[str, str]) -> str:
        """Put the values in; at most MAX_EXPANDED characters."""
        pieces: list[str] = []
        left = MAX_EXPANDED
        for part in self.parts:
            piece = part.expand(values) if isinstance(part, Macro) else part
            pieces.append(piece[:left])
            left -= len(pieces[-1])
        return "".join(pieces)

    def expand_name(self, values: Mapping[str, str]) -> str:
        """As a domain name: without the last dot, and without labels on the left until it fits (RFC 7208 7.3)."""
        name = self.expand(values).removesuffix(".")
        while len(name) > MAX_NAME:
            _, dot, name = name.partition(".")
            if not dot:
                return ""
        return name


def parse_macros(text: str, letters: frozenset[str] = IN_DOMAINS, *, spaces: bool = False) -> MacroString:
    """Read a macro-string, or an explain-string with its spaces; raises InvalidMacro."""
    literal = _LITERAL_OR_SPACE if spaces else _LITERAL
    parts: list[str | Macro] = []
    position = 0
    while position < len(text):
        match = _MACRO.match(text, position)
        if match is not None:
            parts.append(_SIMPLE[match[5]] if match[5] else _macro(match, letters))
        else:
            match = literal.match(text, position)
            if match is None:
                raise InvalidMacro(text[:100])
            parts.append(match[0])
        position = match.end()
    return MacroString(tuple(parts))


def _macro(match: re.Match[str], letters: frozenset[str]) -> Macro:
    letter = match[1].lower()
    if letter not in letters or (match[2] and not int(match[2])):
        raise InvalidMacro(match[0])
    return Macro(letter, int(match[2] or 0), bool(match[3]), match[4] or ".", match[1].isupper())


def parse_domain_spec(text: str) -> MacroString:
    """Read a domain-spec: it ends in a macro, or in a label that can be a top level domain; raises InvalidMacro."""
    found = parse_macros(text)
    if not found.parts:
        raise InvalidMacro("empty")
    if not text.endswith("}") or not isinstance(found.parts[-1], Macro):
        last = found.parts[-1]
        # A label may begin in a macro only if a dot follows it.
        if not isinstance(last, str) or not _DOMAIN_END.search(last):
            raise InvalidMacro(text[:100])
    return found
