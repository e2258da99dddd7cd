"""Strings of a script: encoded characters (RFC 5228 2.4.2.4) and references to variables (RFC 5229 3)."""

import re
from dataclasses import dataclass
from typing import TypeAlias

from posthorn_sieve.errors import InvalidScript

_ENCODED = re.compile(r"\$\{(hex|unicode):([0-9A-Fa-f \t\r\n]+)\}", re.IGNORECASE)
_REFERENCE = re.compile(r"\$\{(?:([0-9]{1,5})|((?:[A-Za-z_][A-Za-z0-9_]*\.)*)([A-Za-z_][A-Za-z0-9_]*))\}")
NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
GLOBAL = frozenset({"global."})
"""Namespaces that `include` brings (RFC 6609 3.4.3)."""


@dataclass(frozen=True, slots=True)
class Reference:
    """A variable by its lower-case name, or what a wildcard matched by its number."""

    name: str
    number: int = -1
    shared: bool = False
    """In the namespace `global` (RFC 6609 3.4.3)."""


@dataclass(frozen=True, slots=True)
class Template:
    """A string with references in it."""

    pieces: tuple[str | Reference, ...]


Text: TypeAlias = str | Template


def decode_characters(text: str) -> str:
    """Return `text` with ${hex: ...} and ${unicode: ...} decoded. Raises InvalidScript, without a place."""
    if "${" not in text:
        return text
    return _ENCODED.sub(_character, text)


def _character(match: re.Match[str]) -> str:
    numbers = match[2].split()
    if not numbers or (match[1].lower() == "hex" and any(len(number) > 2 for number in numbers)):
        return match[0]
    if match[1].lower() == "hex":
        try:
            return bytes(int(number, 16) for number in numbers).decode()
        except UnicodeDecodeError as error:
            raise InvalidScript("the octets of a ${hex: } are not UTF-8") from error
    codes = [int(number, 16) if len(number.lstrip("0")) <= 6 else 0x110000 for number in numbers]
    if any(code >= 0x110000 or 0xD800 <= code < 0xE000 or code == 0 for code in codes):
        raise InvalidScript("a ${unicode: } holds what is no character")
    return "".join(map(chr, codes))


def template(text: str, namespaces: frozenset[str]) -> Text:
    """Return `text` with its references found. Raises InvalidScript, without a place, for an unknown namespace."""
    if "${" not in text:
        return text
    pieces: list[str | Reference] = []
    position = 0
    for match in _REFERENCE.finditer(text):
        if match.start() > position:
            pieces.append(text[position : match.start()])
        position = match.end()
        if match[1] is not None:
            pieces.append(Reference("", int(match[1])))
            continue
        namespace = match[2].lower()
        if namespace and namespace not in namespaces:
            raise InvalidScript(f"there is no namespace '{namespace[:-1]}' for variables")
        pieces.append(Reference(match[3].lower(), shared=bool(namespace)))
    if position < len(text):
        pieces.append(text[position:])
    return Template(tuple(pieces)) if any(isinstance(piece, Reference) for piece in pieces) else text


def variable_name(name: str, namespaces: frozenset[str] = GLOBAL) -> Reference:
    """Return what may be set under `name`. Raises InvalidScript, without a place."""
    space, dot, last = name.lower().rpartition(".")
    if not NAME.match(last):
        raise InvalidScript(f"'{name[:50]}' is not the name of a variable")
    if dot and f"{space}." not in namespaces:
        raise InvalidScript(f"there is no namespace '{space[:50]}' for variables")
    return Reference(last, shared=bool(dot))
