"""A script as it is run: every word found, every argument checked, every constant made ready."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import Enum
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

from posthorn_sieve.comparators import Comparator
from posthorn_sieve.limits import Limits
from posthorn_sieve.texts import GLOBAL

if TYPE_CHECKING:
    from posthorn_sieve.run import Run

Value: TypeAlias = Any
"""By its Kind: int, Text, tuple of Text, str, tuple of str; True for a tag without a value."""


class Kind(Enum):
    """What an argument is."""

    NUMBER = "a number"
    TEXT = "a string"
    TEXTS = "a string list"
    CONSTANT = "a constant string"
    CONSTANTS = "a list of constant strings"


class MatchType(Enum):
    """RFC 5228 2.7.1, RFC 5231, and :regex."""

    IS = "is"
    CONTAINS = "contains"
    MATCHES = "matches"
    REGEX = "regex"
    COUNT = "count"
    VALUE = "value"


@dataclass(frozen=True, slots=True)
class Match:
    """How a test compares."""

    type: MatchType = MatchType.IS
    comparator: Comparator = Comparator.CASEMAP
    relation: str = "eq"


@dataclass(frozen=True, slots=True)
class Tag:
    """A tag that a word knows: the kind of its value, the extension it belongs to, and the group it excludes."""

    takes: Kind | None = None
    needs: str = ""
    group: str = ""


@dataclass(frozen=True, slots=True)
class Call:
    """One command or test."""

    name: str
    line: int
    column: int
    word: "Word"
    tags: Mapping[str, Value]
    arguments: tuple[Value, ...]
    match: Match
    tests: "tuple[Call, ...]" = ()
    block: "tuple[Call, ...]" = ()


class Tests(Enum):
    """How many tests follow a word."""

    NONE = 0
    ONE = 1
    SEVERAL = 2


@dataclass(frozen=True, slots=True)
class Word:
    """A command or a test of the language: what it takes and what it does."""

    run: "Callable[[Run, Call], Any]"
    positional: tuple[Kind, ...] = ()
    tags: Mapping[str, Tag] = field(default_factory=lambda: MappingProxyType({}))
    needs: tuple[str, ...] = ()
    """Extensions of which one must be asked for."""
    also: tuple[str, ...] = ()
    """Extensions that must be asked for besides."""
    optional: int = 0
    """How many of the first positional arguments may be left out."""
    trailing: int = 0
    """How many of the last ones may be."""
    tests: Tests = Tests.NONE
    block: bool = False
    check: "Callable[[Call, Scope], None] | None" = None
    """Looks at the constants; raises InvalidScript, without a place."""


@dataclass(slots=True)
class Scope:
    """What is known while one script is compiled."""

    limits: Limits
    extensions: set[str] = field(default_factory=set)
    includes: set[tuple[str, str]] = field(default_factory=set)
    loops: list[str] = field(default_factory=list)
    """Names of the foreverypart around, "" for one without."""

    @property
    def namespaces(self) -> frozenset[str]:
        return GLOBAL if "include" in self.extensions else frozenset()


@dataclass(frozen=True, slots=True)
class Script:
    """A compiled script. It is never changed: one may run many times, at once and in any thread."""

    block: tuple[Call, ...]
    extensions: frozenset[str]
    includes: frozenset[tuple[str, str]]
    """(location, name) of the scripts that it includes."""
    size: int
