"""Addresses read back from a stored ENVELOPE, as imap_view writes it: what sorting by address needs, and no more."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

from posthorn_mail_format.headers import decode_text

_STRING = rb'(?:NIL|"[^"\\]*(?:\\.[^"\\]*)*")'
_ADDRESS = rb"\((?:%b ){3}%b\)" % (_STRING, _STRING)
_LIST = rb"(?:NIL|\((?:%b)+\))" % _ADDRESS
# The date, the subject, then from, sender, reply-to, to, cc: an envelope without literals.
_PLAIN = re.compile(rb"\(%b %b (%b) %b %b (%b) (%b) " % (_STRING, _STRING, *[_LIST] * 5), re.DOTALL)
_FIRST = re.compile(rb"\(\((%b) %b (%b) (%b)\)" % ((_STRING,) * 4), re.DOTALL)
_TOKEN = re.compile(rb'(\()|(\))|(NIL)|"([^"\\]*(?:\\.[^"\\]*)*)"|\{(\d{1,9})\}\r\n| ', re.DOTALL)
_ESCAPED = re.compile(rb"\\(.)", re.DOTALL)
_FIELDS = (2, 5, 6)
"""Places of from, to and cc in an envelope."""


@dataclass(frozen=True, slots=True)
class FirstAddress:
    """The first address structure of a field; that of a group has its name as mailbox and no host (RFC 9051 7.5.2)."""

    name: bytes | None
    mailbox: bytes | None
    host: bytes | None

    @property
    def display(self) -> str:
        """What people see: the name (a group's, too), else the address, else nothing (RFC 5957 2)."""
        if self.name:
            return decode_text(self.name).strip()
        mailbox = (self.mailbox or b"").decode("utf-8", "replace")
        return mailbox if self.host is None else f"{mailbox}@{self.host.decode('utf-8', 'replace')}"


Firsts = tuple[FirstAddress | None, FirstAddress | None, FirstAddress | None]


def first_addresses(envelope: bytes) -> Firsts:
    """The first address of from, to and cc; None where a field has none. Never raises, whatever the bytes."""
    plain = _PLAIN.match(envelope)
    if plain is None:
        return _with_literals(envelope)
    return _first(plain[1]), _first(plain[2]), _first(plain[3])


def _first(addresses: bytes) -> FirstAddress | None:
    found = _FIRST.match(addresses)
    return FirstAddress(_octets(found[1]), _octets(found[2]), _octets(found[3])) if found else None


def _octets(nstring: bytes) -> bytes | None:
    if nstring == b"NIL":
        return None
    inner = nstring[1:-1]
    return _ESCAPED.sub(rb"\1", inner) if b"\\" in inner else inner


def _with_literals(envelope: bytes) -> Firsts:
    """The same for envelopes with literals, token by token."""
    found: dict[int, list[bytes | None]] = {}
    depth, field, count = 0, -1, 0
    for token in _tokens(envelope):
        if token == b"(":
            depth += 1
            count += depth == 3
            field += depth == 2
            if depth == 2:
                count = 0
        elif token == b")":
            depth -= 1
            if not depth:
                break
        elif depth == 1:
            field += 1
        elif depth == 3 and count == 1 and field in _FIELDS:
            found.setdefault(field, []).append(token[1:] if token[:1] == b"=" else None)
    firsts = [found.get(place, ()) for place in _FIELDS]
    made = [FirstAddress(each[0], each[2], each[3]) if len(each) == 4 else None for each in firsts]
    return made[0], made[1], made[2]


def _tokens(envelope: bytes) -> Iterator[bytes]:
    """Parentheses, b"-" for NIL, and strings with b"=" in front; ends where nothing can be read."""
    position = 0
    while token := _TOKEN.match(envelope, position):
        position = token.end()
        opened, closed, nil, quoted, literal = token.groups()
        if opened or closed:
            yield token[0]
        elif nil:
            yield b"-"
        elif quoted is not None:
            yield b"=" + _ESCAPED.sub(rb"\1", quoted)
        elif literal is not None:
            yield b"=" + envelope[position : position + int(literal)]
            position += int(literal)
