"""Rights on mailboxes (RFC 4314): what somebody else than the owner may do with one."""

from collections.abc import Iterable
from enum import IntFlag

from posthorn_model.errors import InvalidContent


class Right(IntFlag):
    """The standard rights of RFC 4314 2.1, as stored in one small integer; in its order of letters below."""

    NONE = 0
    LOOKUP = 1
    READ = 2
    SEEN = 4
    WRITE = 8
    INSERT = 16
    POST = 32
    CREATE = 64
    DELETE_MAILBOX = 128
    DELETE_MESSAGES = 256
    EXPUNGE = 512
    ADMINISTER = 1024


LETTERS = "lrswipkxtea"
ALL = Right(sum(Right))
_BY_LETTER = {letter: Right(1 << place) for place, letter in enumerate(LETTERS)} | {
    # RFC 4314 2.1.1: what clients of RFC 2086 mean by the letters that were split.
    "c": Right.CREATE | Right.DELETE_MAILBOX,
    "d": Right.DELETE_MESSAGES | Right.EXPUNGE,
}


def rights(letters: str) -> Right:
    """The rights that letters stand for, in any order. Raises InvalidContent for a letter that is none."""
    return union(_right(letter) for letter in letters)


def letters(held: Right) -> str:
    """The letters of rights, in the RFC's order."""
    return "".join(letter for place, letter in enumerate(LETTERS) if held & (1 << place))


def union(each: Iterable[Right]) -> Right:
    """All of several rights."""
    found = Right.NONE
    for right in each:
        found |= right
    return found


def _right(letter: str) -> Right:
    found = _BY_LETTER.get(letter)
    if found is None:
        raise InvalidContent("there is no such right", letter=letter[:1])
    return found
