"""Search keys as a tree of values, read from SEARCH (RFC 9051 6.4.4; 5032, 7162, 8474, 9738). Nothing is looked up."""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import date
from enum import Enum

from posthorn_imap.protocol.cursor import MAX_NUMBER, MAX_NUMBER64, Cursor, SyntaxProblem, Unsupported
from posthorn_imap.protocol.dates import day
from posthorn_imap.protocol.flag_names import flag
from posthorn_imap.protocol.sets import SAVED_MARK, NumberSet, number_set
from posthorn_model.errors import InvalidKeyword
from posthorn_model.flags import SystemFlag, keyword

MAX_DEPTH = 32
MAX_KEYS = 500
CHARSETS = {b"UTF-8": "utf-8", b"US-ASCII": "ascii", b"ISO-8859-1": "iso-8859-1", b"ISO-8859-15": "iso-8859-15"}


class UnknownCharset(Unsupported):
    """NO [BADCHARSET] (RFC 9051 6.4.4)."""

    text = "Unknown charset"
    code = b"BADCHARSET (" + b" ".join(CHARSETS) + b")"


class Where(Enum):
    """Texts that can be searched."""

    FROM = b"FROM"
    TO = b"TO"
    CC = b"CC"
    BCC = b"BCC"
    SUBJECT = b"SUBJECT"
    BODY = b"BODY"
    TEXT = b"TEXT"


class When(Enum):
    """Relations of a message's day to the given one."""

    BEFORE = b"BEFORE"
    ON = b"ON"
    SINCE = b"SINCE"


@dataclass(frozen=True, slots=True)
class All:
    """Every message."""


@dataclass(frozen=True, slots=True)
class And:
    keys: tuple["Key", ...]


@dataclass(frozen=True, slots=True)
class Or:
    one: "Key"
    other: "Key"


@dataclass(frozen=True, slots=True)
class Not:
    key: "Key"


@dataclass(frozen=True, slots=True)
class Numbered:
    """Messages by sequence number, or by UID."""

    numbers: NumberSet
    uid: bool


@dataclass(frozen=True, slots=True)
class Flagged:
    """All bits of `flag` are set."""

    flag: SystemFlag


@dataclass(frozen=True, slots=True)
class HasKeyword:
    keyword: str


@dataclass(frozen=True, slots=True)
class Recent:
    """\\Recent in this session."""


@dataclass(frozen=True, slots=True)
class Contains:
    """`text` occurs in a part of the message, in any case."""

    where: Where
    text: str


@dataclass(frozen=True, slots=True)
class HeaderContains:
    """A header field of that name exists whose text holds `text`."""

    name: str
    text: str


@dataclass(frozen=True, slots=True)
class Dated:
    """Compared with the internal date, or (`sent`) with the Date field; days only, without time zones."""

    when: When
    day: date
    sent: bool


@dataclass(frozen=True, slots=True)
class Saved:
    """Compared with the day on which the message came into the mailbox (RFC 8514 4.3)."""

    when: When
    day: date


@dataclass(frozen=True, slots=True)
class Sized:
    """Larger (or smaller) than `octets`."""

    octets: int
    larger: bool


@dataclass(frozen=True, slots=True)
class Aged:
    """Received within the last `seconds`, or before (RFC 5032)."""

    seconds: int
    younger: bool


@dataclass(frozen=True, slots=True)
class ChangedSince:
    """Mod-sequence at least `modseq` (RFC 7162 3.1.5)."""

    modseq: int


@dataclass(frozen=True, slots=True)
class Identified:
    """EMAILID or THREADID (RFC 8474)."""

    id: str
    thread: bool


Key = (
    All
    | And
    | Or
    | Not
    | Numbered
    | Flagged
    | HasKeyword
    | Recent
    | Contains
    | HeaderContains
    | Dated
    | Saved
    | Sized
    | Aged
    | ChangedSince
    | Identified
)

_SET_START = re.compile(rb"[0-9*]")
_SEEN, _DELETED = Flagged(SystemFlag.SEEN), Flagged(SystemFlag.DELETED)
_ANSWERED, _FLAGGED, _DRAFT = (
    Flagged(SystemFlag.ANSWERED),
    Flagged(SystemFlag.FLAGGED),
    Flagged(SystemFlag.DRAFT),
)
_CONSTANT: Mapping[bytes, Key] = {
    b"ALL": All(),
    b"ANSWERED": _ANSWERED,
    b"DELETED": _DELETED,
    b"DRAFT": _DRAFT,
    b"FLAGGED": _FLAGGED,
    b"SEEN": _SEEN,
    b"UNANSWERED": Not(_ANSWERED),
    b"UNDELETED": Not(_DELETED),
    b"UNDRAFT": Not(_DRAFT),
    b"UNFLAGGED": Not(_FLAGGED),
    b"UNSEEN": Not(_SEEN),
    b"RECENT": Recent(),
    b"OLD": Not(Recent()),
    b"SAVEDATESUPPORTED": All(),  # by every mailbox (RFC 8514 4.3)
    b"NEW": And((Recent(), Not(_SEEN))),
}


class _Reader:
    """Reads keys with the charset and the bounds of one command."""

    def __init__(self, cursor: Cursor, charset: str) -> None:
        self._cursor = cursor
        self._charset = charset
        self._left = MAX_KEYS

    def keys(self, end: Callable[[], bool], depth: int) -> Key:
        found = [self.key(depth)]
        while not end():
            self._cursor.space()
            found.append(self.key(depth))
        return found[0] if len(found) == 1 else And(tuple(found))

    def key(self, depth: int) -> Key:
        cursor = self._cursor
        self._left -= 1
        if depth > MAX_DEPTH or self._left < 0:
            raise SyntaxProblem("search too complex")
        if cursor.accept(b"("):
            return self.keys(lambda: cursor.accept(b")"), depth + 1)
        if cursor.peek() == SAVED_MARK or _SET_START.match(cursor.peek()):
            return Numbered(number_set(cursor), uid=False)
        word = cursor.word()
        if word in _CONSTANT:
            return _CONSTANT[word]
        if word not in _ARGUED:
            raise SyntaxProblem(f"unknown search key {word.decode()}")
        cursor.space()
        if word == b"NOT":
            return Not(self.key(depth + 1))
        if word == b"OR":
            one = self.key(depth + 1)
            cursor.space()
            return Or(one, self.key(depth + 1))
        return self._argued(word)

    def _argued(self, word: bytes) -> Key:
        """A key with its arguments; the space is read."""
        cursor = self._cursor
        if word in _WHERE:
            return Contains(_WHERE[word], self._text())
        if word in _DATES:
            when, sent = _DATES[word]
            return Dated(when, day(cursor), sent)
        if word in _SAVED:
            return Saved(_SAVED[word], day(cursor))
        match word:
            case b"HEADER":
                name = self._text()
                cursor.space()
                return HeaderContains(name, self._text())
            case b"KEYWORD":
                return self._keyword()
            case b"UNKEYWORD":
                return Not(self._keyword())
            case b"LARGER" | b"SMALLER":
                return Sized(cursor.number(MAX_NUMBER64), word == b"LARGER")
            case b"OLDER" | b"YOUNGER":
                return Aged(cursor.nonzero(), word == b"YOUNGER")
            case b"UID":
                return Numbered(number_set(cursor), uid=True)
            case b"UIDAFTER":
                return uids_from(cursor.nonzero() + 1)
            case b"UIDBEFORE":
                return _uids(1, cursor.nonzero() - 1)
            case b"MODSEQ":
                return self._modseq()
        return Identified(cursor.atom().decode(), word == b"THREADID")

    def _text(self) -> str:
        try:
            return self._cursor.astring().decode(self._charset)
        except UnicodeDecodeError:
            raise SyntaxProblem("search text does not fit its charset") from None

    def _keyword(self) -> HasKeyword:
        try:
            return HasKeyword(keyword(flag(self._cursor).decode()))
        except InvalidKeyword:
            raise SyntaxProblem("not a valid keyword") from None

    def _modseq(self) -> ChangedSince:
        """The entry name and type may be given; there is one mod-sequence per message, so they change nothing."""
        cursor = self._cursor
        if cursor.peek() == b'"':
            cursor.string()
            cursor.space()
            if cursor.word() not in (b"ALL", b"PRIV", b"SHARED"):
                raise SyntaxProblem("expected all, priv or shared")
            cursor.space()
        return ChangedSince(cursor.number(MAX_NUMBER64))


_WHERE = {where.value: where for where in Where}
_DATES = {prefix + when.value: (when, bool(prefix)) for prefix in (b"", b"SENT") for when in When}
_SAVED = {b"SAVED" + when.value: when for when in When}
_OTHERS = b"NOT OR HEADER KEYWORD UNKEYWORD LARGER SMALLER OLDER YOUNGER UID UIDAFTER UIDBEFORE MODSEQ EMAILID THREADID"
_ARGUED = frozenset(_WHERE) | frozenset(_DATES) | frozenset(_SAVED) | frozenset(_OTHERS.split())


def search_keys(cursor: Cursor, charset: bytes | None) -> Key:
    """Read the keys to the end of the command. Raises SyntaxProblem, UnknownCharset."""
    codec = CHARSETS.get((charset or b"UTF-8").upper())
    if codec is None:
        raise UnknownCharset
    return _Reader(cursor, codec).keys(cursor.at_end, 0)


def uids_from(low: int) -> Numbered:
    """Messages with UIDs from `low` on; unlike the set LOW:* it may be none."""
    return _uids(low, MAX_NUMBER)


def _uids(low: int, high: int) -> Numbered:
    return Numbered(NumberSet(((low, high),) if low <= high else ()), uid=True)


def demanded(key: Key) -> tuple[Key, ...]:
    """The keys that every match must have."""
    return tuple(each for inner in key.keys for each in demanded(inner)) if isinstance(key, And) else (key,)


def children(key: Key) -> tuple[Key, ...]:
    """The keys inside a key."""
    match key:
        case And(keys):
            return keys
        case Or(one, other):
            return one, other
        case Not(inner):
            return (inner,)
    return ()


def numbers_messages(key: Key) -> bool:
    """Whether a sequence number, or what was saved, is among the keys: they mean the selected mailbox."""
    return (isinstance(key, Numbered) and (not key.uid or key.numbers.saved)) or any(
        map(numbers_messages, children(key))
    )


def has_numbers(key: Key) -> bool:
    """Whether a sequence number is among the keys; what was saved has none (RFC 9586 3.1)."""
    own = isinstance(key, Numbered) and not key.uid and not key.numbers.saved
    return own or any(map(has_numbers, children(key)))


def uses_modseq(key: Key) -> bool:
    """Whether MODSEQ is among the keys: then the response tells the highest one (RFC 7162 3.1.5)."""
    return isinstance(key, ChangedSince) or any(map(uses_modseq, children(key)))
