"""An SPF record as a value (RFC 7208 4.6, 5, 6). A record with one mistake anywhere is none (4.6)."""

import re
from dataclasses import dataclass
from enum import Enum
from ipaddress import IPv4Network, IPv6Network

from posthorn_mail_auth.remembering import remembering
from posthorn_mail_auth.spf.macros import InvalidMacro, MacroString, parse_domain_spec, parse_macros

MAX_RECORD = 16_384
_VERSION = re.compile(rb"v=spf1(?: |\Z)", re.IGNORECASE)
_TERM = re.compile(r"([+?~-]?)([A-Za-z][A-Za-z0-9_.-]{0,250})([:/=]?)")
_LENGTHS = re.compile(r"(?:/(0|[1-9][0-9]{0,2}))?(?://(0|[1-9][0-9]{0,2}))?\Z")


class InvalidRecord(ValueError):
    """The record has a mistake; its message says where, in words for a result."""


class Qualifier(Enum):
    """What a match of a mechanism means."""

    PASS = "+"  # noqa: S105
    NEUTRAL = "?"
    SOFTFAIL = "~"
    FAIL = "-"


@dataclass(frozen=True, slots=True)
class Mechanism:
    """One mechanism; `domain` is None where the current domain is meant."""

    qualifier: Qualifier
    name: str
    text: str
    """As written."""
    domain: MacroString | None = None
    network: IPv4Network | IPv6Network | None = None
    prefix4: int = 32
    prefix6: int = 128


@dataclass(frozen=True, slots=True)
class Record:
    """The terms of a record."""

    mechanisms: tuple[Mechanism, ...] = ()
    redirect: MacroString | None = None
    explanation: MacroString | None = None


def is_spf(text: bytes) -> bool:
    """Whether a TXT record is an SPF record (RFC 7208 4.5)."""
    return _VERSION.match(text) is not None


@remembering
def parse_record(text: bytes) -> Record:
    """Read a record; raises InvalidRecord."""
    if len(text) > MAX_RECORD:
        raise InvalidRecord("the record is too long")
    try:
        words = text.decode("ascii").split(" ")[1:]
    except UnicodeDecodeError:
        raise InvalidRecord("the record is not ASCII") from None
    mechanisms: list[Mechanism] = []
    modifiers: dict[str, MacroString] = {}
    for word in filter(None, words):
        try:
            _term(word, mechanisms, modifiers)
        except (InvalidMacro, ValueError):
            raise InvalidRecord(f"syntax error at {word[:40]!r}") from None
    return Record(tuple(mechanisms), modifiers.get("redirect"), modifiers.get("exp"))


def _term(word: str, mechanisms: list[Mechanism], modifiers: dict[str, MacroString]) -> None:
    match = _TERM.match(word)
    if match is None:
        raise InvalidRecord
    qualifier, name, separator = match[1], match[2].lower(), match[3]
    if separator != "=":
        mechanisms.append(_mechanism(Qualifier(qualifier or "+"), name, word, word[match.start(3) :]))
        return
    value = word[match.end() :]
    if qualifier or name in modifiers:
        raise InvalidRecord
    if name in ("redirect", "exp"):
        modifiers[name] = parse_domain_spec(value)
    else:
        parse_macros(value)


def _mechanism(qualifier: Qualifier, name: str, text: str, rest: str) -> Mechanism:
    """`rest` is what follows the name, its separator included."""
    match name:
        case "all" if not rest:
            return Mechanism(qualifier, name, text)
        case "include" | "exists" if rest.startswith(":"):
            return Mechanism(qualifier, name, text, domain=parse_domain_spec(rest[1:]))
        case "ptr" if not rest or rest.startswith(":"):
            return Mechanism(qualifier, name, text, domain=parse_domain_spec(rest[1:]) if rest else None)
        case "a" | "mx":
            return _with_lengths(qualifier, name, text, rest)
        case "ip4" if rest.startswith(":"):
            return Mechanism(qualifier, name, text, network=IPv4Network(_network(rest[1:]), strict=False))
        case "ip6" if rest.startswith(":"):
            return Mechanism(qualifier, name, text, network=IPv6Network(_network(rest[1:]), strict=False))
    raise InvalidRecord


def _network(text: str) -> str:
    """An address with or without a length in plain digits: no netmask, no zone."""
    address, slash, length = text.partition("/")
    if "%" in address or (slash and not re.fullmatch(r"0|[1-9][0-9]{0,2}", length)):
        raise InvalidRecord
    return text


def _with_lengths(qualifier: Qualifier, name: str, text: str, rest: str) -> Mechanism:
    lengths = _LENGTHS.search(rest)
    assert lengths is not None
    domain = rest[: lengths.start()]
    prefix4, prefix6 = int(lengths[1] or 32), int(lengths[2] or 128)
    if prefix4 > 32 or prefix6 > 128 or (domain and not domain.startswith(":")):
        raise InvalidRecord
    return Mechanism(
        qualifier,
        name,
        text,
        domain=parse_domain_spec(domain[1:]) if domain else None,
        prefix4=prefix4,
        prefix6=prefix6,
    )
