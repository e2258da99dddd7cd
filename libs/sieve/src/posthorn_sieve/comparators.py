"""Comparators (RFC 4790, RFC 5228 2.7.3): how texts are made equal, and how they are ordered."""

from dataclasses import dataclass
from enum import Enum
from typing import Any

_UPPER = {code: code - 32 for code in range(ord("a"), ord("z") + 1)}
_DIGITS = frozenset("0123456789")


class Comparator(Enum):
    OCTET = "i;octet"
    CASEMAP = "i;ascii-casemap"
    NUMERIC = "i;ascii-numeric"


BY_NAME = {comparator.value: comparator for comparator in Comparator}
"""What scripts may name; i;ascii-numeric only after `require "comparator-i;ascii-numeric"`."""


def folded(comparator: Comparator, text: str) -> str:
    """Return `text` with as many characters, such that equal texts of the comparator are the same."""
    return text.translate(_UPPER) if comparator is Comparator.CASEMAP else text


@dataclass(frozen=True, slots=True, order=True)
class _Numeric:
    """A number, or what is none: larger than any number, and equal to each other (RFC 4790 9.1)."""

    infinite: bool
    digits: int
    number: str


def order_key(comparator: Comparator, text: str) -> Any:
    """Return what orders `text` among others of the same comparator."""
    if comparator is not Comparator.NUMERIC:
        return folded(comparator, text).encode("utf-8", "surrogatepass")
    length = next((index for index, character in enumerate(text) if character not in _DIGITS), len(text))
    if length == 0:
        return _Numeric(True, 0, "")
    # Compared by length and then as text: no number is too long for it.
    number = text[:length].lstrip("0")
    return _Numeric(False, len(number), number)
