"""Address lists of header fields (RFC 5322 3.4 with its obsolete forms) and mailboxes of the SMTP envelope (RFC 5321).

Header parsing is lenient: what is broken becomes the best address there is, nothing raises, time and count are bounded.
Envelope parsing is strict and raises InvalidAddress.
"""

import ipaddress
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from posthorn_mail_format.encoded_words import decode_words, text_of
from posthorn_mail_format.headers import text
from posthorn_model.errors import InvalidAddress

MAX_ADDRESSES = 5000
MAX_VALUE = 262_144
_MAX_TOKENS = 400
"""Tokens of one address; what follows them is dropped up to the next address."""

_TOKEN = re.compile(
    r"""(?P<space>\s+)
    | (?P<quoted>"[^"\\]*+(?:\\.[^"\\]*+)*(?:"|\\?\Z))
    | (?P<comment>\()
    | (?P<literal>\[[^\[\]<>,;\s]*+\]?)
    | (?P<special>[<>,;:@])
    | (?P<atom>[^\s()<>@,;:"\[]++|[)])""",
    re.VERBOSE | re.DOTALL,
)
# What nearly every address looks like: `local@domain,`, `words <local@domain>,`, `"words" <local@domain>,`.
_PLAIN_WORD = r"[^\s()<>@,;:\"\[\]\\]++"
_PLAIN_ADDRESS = re.compile(
    rf"\s*+(?:(?:\"([^\"\\]*+)\"\s*+|([^()<>@,;:\"\[\]\\]*+))<({_PLAIN_WORD})@({_PLAIN_WORD})>"
    rf"|({_PLAIN_WORD})@({_PLAIN_WORD}))\s*+(?:,|\Z)"
)
_PARENTHESIS = re.compile(r"\\.|[()]", re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_SPACES = re.compile(r"\s+")

_ATEXT = r"[A-Za-z0-9!#$%&'*+\-/=?^_`{|}~]"
_DOT_STRING = re.compile(rf"{_ATEXT}+(?:\.{_ATEXT}+)*\Z")
_DOT_STRING_8 = re.compile(rf"(?:{_ATEXT}|[^\x00-\x7f])+(?:\.(?:{_ATEXT}|[^\x00-\x7f])+)*\Z")
_QUOTED = re.compile(r'"((?:[ !#-\[\]-~]|\\[ -~])*)"\Z')
_QUOTED_8 = re.compile(r'"((?:[ !#-\[\]-~]|[^\x00-\x7f]|\\[ -~])*)"\Z')
_LABEL = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\Z")
_LABEL_8 = re.compile(r"(?!-)(?:[A-Za-z0-9-]|[^\x00-\x7f])+(?<!-)\Z")
_GENERAL_LITERAL = re.compile(r"[A-Za-z0-9-]*[A-Za-z0-9]:[!-Z^-~]+\Z")
_JOINER_OR_SPACE = re.compile("[ \u200c\u200d]")
_ROUTE = re.compile(r"(?:@[^\s@:,<>]+,)*@[^\s@:,<>]+:")


@dataclass(frozen=True, slots=True)
class Address:
    """One mailbox. Strings keep the message's octets (surrogate escapes) and encoded words; quotes are undone.

    `mailbox` or `host` is "" where the message has none.
    """

    name: str | None
    mailbox: str
    host: str
    route: str = ""

    @property
    def display_name(self) -> str | None:
        """The name as readable text, or None when there is none."""
        return _SPACES.sub(" ", decode_words(self.name)).strip() or None if self.name else None

    @property
    def email(self) -> str:
        """mailbox@host as readable text; the mailbox is quoted where it must be."""
        local = text_of(self.mailbox)
        if local and not _DOT_STRING_8.match(local):
            local = '"' + local.replace("\\", "\\\\").replace('"', '\\"') + '"'
        return f"{local}@{text_of(self.host)}" if self.host else local


@dataclass(frozen=True, slots=True)
class Group:
    """A named group (RFC 5322 3.4), possibly empty ("undisclosed-recipients:;")."""

    name: str
    members: tuple[Address, ...]

    @property
    def display_name(self) -> str:
        return _SPACES.sub(" ", decode_words(self.name)).strip()


Parse = Callable[[bytes], tuple[Address | Group, ...]]
"""parse_addresses, or a caller's version that remembers what it has parsed."""


def parse_addresses(value: bytes) -> tuple[Address | Group, ...]:
    """Return the addresses and groups of a raw field value, at most 5,000 in all. Never raises (RFC 5322 3.4, 4.4)."""
    line = text(value[:MAX_VALUE])
    found = _plain_addresses(line)
    return _Parser(line).run() if found is None else found


def _plain_addresses(line: str) -> tuple[Address, ...] | None:
    """The addresses of a list that has plain ones only, as the parser reads them; None for any other."""
    found: list[Address] = []
    position = 0
    while position < len(line) and len(found) < MAX_ADDRESSES:
        match = _PLAIN_ADDRESS.match(line, position)
        if match is None:
            return None
        quoted, words, mailbox, host, bare, bare_host = match.groups()
        if bare is not None:
            found.append(Address(None, bare, bare_host))
        else:
            name = quoted.strip() if quoted is not None else " ".join(words.split())
            found.append(Address(name or None, mailbox, host))
        position = match.end()
    return tuple(found)


def flatten(entries: tuple[Address | Group, ...]) -> tuple[Address, ...]:
    """Return all addresses, those of groups included, in their order."""
    return tuple(address for entry in entries for address in (entry.members if isinstance(entry, Group) else (entry,)))


def parse_mailbox(text: str, smtputf8: bool = False) -> tuple[str, str]:
    """Return (local part, domain or address literal) of an envelope mailbox (RFC 5321 4.1.2, RFC 6531 3.3).

    A quoted local part that need not be quoted comes back without quotes. Raises InvalidAddress.
    """
    local, at, domain = text.rpartition("@")
    if domain.endswith("]") and "@[" in text:
        start = text.rindex("@[")
        local, at, domain = text[:start], "@", text[start + 1 :]
    if not at or not local:
        raise InvalidAddress("an address is local@domain", address=text[:100])
    if not smtputf8 and not text.isascii():
        raise InvalidAddress("an address with non-ASCII characters needs SMTPUTF8", address=text[:100])
    return _strict_local(local), _strict_domain(domain)


def parse_path(text: str, smtputf8: bool = False) -> tuple[str, str]:
    """Return (local part, domain) of a path with its angle brackets; ("", "") for the null path "<>".

    A source route is accepted and ignored (RFC 5321 4.1.1.3), "<postmaster>" has no domain (4.1.1.3). Raises
    InvalidAddress.
    """
    if not (text.startswith("<") and text.endswith(">")):
        raise InvalidAddress("a path stands in angle brackets", address=text[:100])
    inner = text[1:-1]
    if not inner:
        return "", ""
    if inner.lower() == "postmaster":
        return inner, ""
    route = _ROUTE.match(inner) if inner.startswith("@") else None
    return parse_mailbox(inner[route.end() :] if route else inner, smtputf8)


def _strict_local(local: str) -> str:
    if len(local.encode("utf-8", "replace")) > 64:
        raise InvalidAddress("the local part is longer than 64 octets", address=local[:100])
    if _DOT_STRING_8.match(local) and _printable(local):
        return local
    quoted = _QUOTED_8.match(local)
    if quoted is None or not _printable(local):
        raise InvalidAddress("the local part is not valid", address=local[:100])
    content = _ESCAPED.sub(r"\1", quoted[1])
    return content if _DOT_STRING_8.match(content) else local


def _strict_domain(domain: str) -> str:
    if len(domain.encode("utf-8", "replace")) > 255:
        raise InvalidAddress("the domain is longer than 255 octets", address=domain[:100])
    if domain.startswith("["):
        if domain.endswith("]") and _is_literal(domain[1:-1]):
            return domain
        raise InvalidAddress("the address literal is not valid", address=domain[:100])
    for label in domain.split("."):
        pattern = _LABEL if label.isascii() else _LABEL_8
        if not pattern.match(label) or len(label) > 63 or not _printable(label):
            raise InvalidAddress("the domain is not valid", address=domain[:100])
    return domain


def _is_literal(content: str) -> bool:
    try:
        if content[:5].lower() == "ipv6:":
            return "%" not in content and ipaddress.IPv6Address(content[5:]) is not None
        if content[:1].isdigit() and ":" not in content:
            return ipaddress.IPv4Address(content) is not None
    except ValueError:
        return False
    return _GENERAL_LITERAL.match(content) is not None


def _printable(text: str) -> bool:
    """No control character, white space or surrogate hides among the non-ASCII ones; joiners may (RFC 5892 A)."""
    return _JOINER_OR_SPACE.sub("", text).isprintable()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: str
    text: str
    spaced: bool
    """White space or a comment stands before it."""


class _Parser:
    """Collects the tokens of one address at a time; `,` `;` and the group's `:` end it."""

    __slots__ = ("angle", "at", "closed", "comment", "entries", "group", "members", "total", "value", "words")

    def __init__(self, value: str) -> None:
        self.value = value
        self.entries: list[Address | Group] = []
        self.group: str | None = None
        self.members: list[Address] = []
        self.total = 0
        self.clear()

    def clear(self) -> None:
        self.words: list[_Token] = []
        self.at = False
        self.angle: list[_Token] | None = None
        self.closed = False
        self.comment: str | None = None

    def run(self) -> tuple[Address | Group, ...]:
        for token in self.tokens():
            self.take(token)
            if self.total >= MAX_ADDRESSES:
                break
        self.flush()
        self.end_group()
        return tuple(self.entries)

    def tokens(self) -> Iterator[_Token]:
        position, spaced, value = 0, False, self.value
        while position < len(value):
            match = _TOKEN.match(value, position)
            if match is None or match.end() == position:
                position += 1
                continue
            kind = match.lastgroup or ""
            position = match.end()
            if kind == "space":
                spaced = True
            elif kind == "comment":
                end = _comment_end(value, position)
                self.comment = value[position : end - 1 if value[end - 1 : end] == ")" else end]
                position, spaced = end, True
            else:
                yield _Token(kind, match[0], spaced)
                spaced = False

    def take(self, token: _Token) -> None:
        mark = token.text if token.kind == "special" else ""
        if self.angle is not None and not self.closed:
            # Inside angle brackets commas and colons belong to a route; an unclosed bracket ends at ",".
            if mark == ">":
                self.closed = True
                return
            if mark not in (",", ";", "<") or (mark == "," and self.in_route(self.angle)):
                if len(self.angle) < _MAX_TOKENS:
                    self.angle.append(token)
                return
        if mark == "<":
            self.angle, self.closed = [], False
        elif mark in (",", ";"):
            self.flush()
            if mark == ";":
                self.end_group()
        elif mark == ":" and self.angle is None and self.group is None and not self.at:
            self.group = _phrase(self.words) or ""
            self.clear()
        elif mark != ">" and not self.closed and len(self.words) < _MAX_TOKENS:
            self.words.append(token)
            self.at = self.at or mark == "@"

    @staticmethod
    def in_route(angle: list[_Token]) -> bool:
        """Whether a comma here separates the domains of a source route (RFC 5322 4.4)."""
        if not angle or angle[0].text != "@" or len(angle) >= _MAX_TOKENS:
            return False
        return all(token.text != ":" for token in angle)

    def flush(self) -> None:
        """Make an address of what was collected, if anything was."""
        address: Address | None = None
        if self.angle is not None:
            address = _from_angle(self.words, self.angle, self.comment)
        elif self.words:
            address = _from_words(self.words, self.comment)
        self.clear()
        if address is None:
            return
        self.total += 1
        if self.group is None:
            self.entries.append(address)
        else:
            self.members.append(address)

    def end_group(self) -> None:
        if self.group is not None:
            self.total += 1
            self.entries.append(Group(self.group, tuple(self.members)))
        self.group = None
        self.members = []


def _from_angle(words: list[_Token], angle: list[_Token], comment: str | None) -> Address | None:
    route = ""
    colon = next((index for index, token in enumerate(angle) if token.text == ":"), -1)
    if angle and angle[0].text == "@" and colon > 0:
        route = "".join(token.text for token in angle[:colon])
        angle = angle[colon + 1 :]
    name = _phrase(words) or _unquote_comment(comment)
    mailbox, host = _split(angle)
    if not mailbox and not host and not name:
        return None
    return Address(name, mailbox, host, route)


def _from_words(words: list[_Token], comment: str | None) -> Address:
    at = next((index for index in range(len(words) - 1, -1, -1) if words[index].text == "@"), -1)
    if at < 0:
        if len(words) == 1 and words[0].kind == "atom":
            return Address(_unquote_comment(comment), words[0].text, "")
        return Address(_phrase(words), "", "")
    # `John Doe jdoe@example.org`: the words a space apart before the local part are a name, but not before a dot that
    # stands between them (RFC 5322 4.4, obs-local-part).
    first = at
    while first > 0 and (
        first == at or not words[first].spaced or words[first].text.startswith(".") or words[first - 1].text == "."
    ):
        first -= 1
    mailbox, host = _split(words[first:])
    return Address(_phrase(words[:first]) or _unquote_comment(comment), mailbox, host)


def _split(tokens: list[_Token]) -> tuple[str, str]:
    at = next((index for index in range(len(tokens) - 1, -1, -1) if tokens[index].text == "@"), len(tokens))
    return _plain(tokens[:at]), "".join(token.text for token in tokens[at + 1 :])


def _plain(tokens: list[_Token]) -> str:
    return "".join(_unquote(token.text) if token.kind == "quoted" else token.text for token in tokens)


def _phrase(words: list[_Token]) -> str | None:
    """The words with single spaces where the message has any."""
    pieces: list[str] = []
    for word in words:
        if pieces and word.spaced:
            pieces.append(" ")
        pieces.append(_unquote(word.text) if word.kind == "quoted" else word.text)
    return "".join(pieces).strip() or None


def _unquote(quoted: str) -> str:
    content = quoted[1:-1] if len(quoted) > 1 and quoted.endswith('"') else quoted[1:]
    return _ESCAPED.sub(r"\1", content) if "\\" in content else content


def _unquote_comment(comment: str | None) -> str | None:
    return _ESCAPED.sub(r"\1", comment).strip() or None if comment else None


def _comment_end(value: str, position: int) -> int:
    """The offset after the comment whose content starts at `position`; an unclosed one ends with the value."""
    depth = 1
    for match in _PARENTHESIS.finditer(value, position):
        depth += {"(": 1, ")": -1}.get(match[0], 0)
        if depth == 0:
            return match.end()
    return len(value)
