"""How many messages one command may be about (RFC 9738): of more it works on the last ones, and says where it ended.

EXPUNGE, CLOSE and STATUS know no limit. What must be done wholly or not at all is refused instead.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from posthorn_imap.protocol.commands import Partial
from posthorn_imap.protocol.cursor import Unsupported
from posthorn_imap.protocol.responses import Answer, no
from posthorn_imap.protocol.search_keys import And, Key, uids_from
from posthorn_imap.search_plan import looked_at
from posthorn_imap.selection import Selection

if TYPE_CHECKING:
    from posthorn_imap.session import Session

Numbered = tuple[int, int]


class TooManyMessages(Unsupported):
    """More messages than a command may be about. `lowest`: the last UID it would have come to, where there is one."""

    def __init__(self, limit: int, lowest: int | None = None) -> None:
        self.text = f"Too many messages: at most {limit} in one command"
        self.code = _code(limit, lowest)


def last_of(session: "Session", chosen: list[Numbered]) -> tuple[list[Numbered], bytes]:
    """Of (sequence number, UID), ascending, those to work on, and a response code where some are left out.

    Then they begin with the highest UID, as the command must (RFC 9738 3.1).
    """
    limit = session.parts.settings.limits.messages
    if not limit or len(chosen) <= limit:
        return chosen, b""
    kept = chosen[-limit:]
    return kept[::-1], _code(limit, kept[0][1])


def last_of_search(session: "Session", selection: Selection, key: Key) -> tuple[Key, bytes]:
    """The key that looks at no more messages than allowed, and a response code where that leaves some out."""
    limit = session.parts.settings.limits.messages
    uids = looked_at(selection, key) if limit else ()
    if len(uids) <= limit:
        return key, b""
    lowest = uids[-limit]
    return And((key, uids_from(lowest))), _code(limit, lowest)


def check_search(session: "Session", selection: Selection, key: Key) -> None:
    """For what needs all messages at once (RFC 9738 3.3). Raises TooManyMessages, SyntaxProblem."""
    limit = session.parts.settings.limits.messages
    if limit and len(looked_at(selection, key)) > limit:
        raise TooManyMessages(limit)


def check_partial(session: "Session", partial: Partial) -> None:
    """A range of FETCH counts as it is asked for, whatever is in it. Raises TooManyMessages."""
    limit = session.parts.settings.limits.messages
    if limit and abs(partial.end - partial.start) >= limit:
        raise TooManyMessages(limit)


def check_saving(session: "Session", uids: Sequence[int | None]) -> None:
    """Of messages to be copied or appended, all or none (RFC 9738 3.1); those to append have no UID yet.

    Raises TooManyMessages.
    """
    limits = session.parts.settings.limits
    limit = limits.messages or limits.saved_messages
    if limit and len(uids) > limit:
        raise TooManyMessages(limit, uids[-limit])


def told(session: "Session", answer: Answer, code: bytes) -> Answer:
    """The answer with the code of `last_of`; where it has one already, an untagged NO comes before it."""
    if not code:
        return answer
    if not answer.code:
        return replace(answer, code=code)
    session.write(no("Not all messages were come to", code).line())
    return answer


def _code(limit: int, lowest: int | None) -> bytes:
    return b"MESSAGELIMIT %d" % limit if lowest is None else b"MESSAGELIMIT %d %d" % (limit, lowest)
