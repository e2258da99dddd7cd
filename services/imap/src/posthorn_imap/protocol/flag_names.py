"""Flags as IMAP writes them: system flags with a backslash, keywords as atoms (RFC 9051 2.3.2)."""

import re
from functools import lru_cache

from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem
from posthorn_model.errors import InvalidKeyword
from posthorn_model.flags import Flags, SystemFlag, keywords

NAMES = {
    SystemFlag.ANSWERED: b"\\Answered",
    SystemFlag.FLAGGED: b"\\Flagged",
    SystemFlag.DELETED: b"\\Deleted",
    SystemFlag.SEEN: b"\\Seen",
    SystemFlag.DRAFT: b"\\Draft",
}
RECENT = b"\\Recent"
_BITS = {name[1:].upper(): bit for bit, name in NAMES.items()}
_FLAG = re.compile(rb'\\?[^\x00-\x20\x7f-\xff(){%*"\\\]]+')
_UNATOMIC = re.compile(r'[(){%*"\\\]]')


def flag(cursor: Cursor) -> bytes:
    """Read one flag or keyword."""
    found = cursor.match(_FLAG)
    if found is None:
        raise SyntaxProblem("expected a flag")
    return found[0]


def read_flags(names: list[bytes]) -> Flags:
    """The flags a client named. \\Recent is the server's alone, and other system flags do not exist."""
    system, words = SystemFlag.NONE, []
    for name in names:
        if not name.startswith(b"\\"):
            words.append(name.decode())
        elif name[1:].upper() in _BITS:
            system |= _BITS[name[1:].upper()]
        else:
            raise SyntaxProblem(f"flag {name.decode()} cannot be set")
    try:
        return Flags(system, keywords(words))
    except InvalidKeyword as error:
        raise SyntaxProblem(f"not a valid keyword: {error.public}") from None


def flag_list(cursor: Cursor) -> Flags:
    """Read a parenthesised list of flags, perhaps empty."""
    return read_flags(cursor.listed(flag, least=0))


def bare_or_listed_flags(cursor: Cursor) -> Flags:
    """Read the flags of STORE, whose parentheses may be missing."""
    if cursor.peek() == b"(":
        return flag_list(cursor)
    names = [flag(cursor)]
    while cursor.accept(b" "):
        names.append(flag(cursor))
    return read_flags(names)


@lru_cache(maxsize=4096)
def _written(flags: Flags, recent: bool) -> bytes:
    names = [name for bit, name in NAMES.items() if flags.system & bit]
    if recent:
        names.append(RECENT)
    # JMAP keywords may hold octets that IMAP atoms may not (RFC 8621 4.1.1): those are not shown here.
    names += [word.encode() for word in sorted(flags.keywords) if not _UNATOMIC.search(word)]
    return b"(" + b" ".join(names) + b")"


def write_flags(flags: Flags, *, recent: bool = False) -> bytes:
    """The parenthesised list of a message's flags."""
    return _written(flags, recent)
