"""Arguments of the commands on messages (RFC 9051 6.3.12 and 6.4; RFC 3502, 4731, 5182, 6851, 7162, 8508)."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Literal

from posthorn_imap.protocol.commands import Append, Command, Copy, Fetch, Letter, Partial, Replace, Store
from posthorn_imap.protocol.cursor import MAX_NUMBER64, Cursor, SyntaxProblem
from posthorn_imap.protocol.dates import date_time
from posthorn_imap.protocol.fetch_items import fetch_items
from posthorn_imap.protocol.flag_names import bare_or_listed_flags, flag_list
from posthorn_imap.protocol.mailbox_grammar import mailbox
from posthorn_imap.protocol.message_urls import MessageUrl, message_url
from posthorn_imap.protocol.partial import partial_range
from posthorn_imap.protocol.search_grammar import search_verbs
from posthorn_imap.protocol.sets import STAR, NumberSet, number_set
from posthorn_imap.protocol.url_access import AccessUrl, access_url, is_absolute
from posthorn_model.flags import NO_FLAGS


def _append(cursor: Cursor) -> Append:
    name = mailbox(cursor)
    letters = [_letter(cursor)]
    while not cursor.at_end():
        letters.append(_letter(cursor))
    return Append(name, tuple(letters))


def _replace(cursor: Cursor, *, uid: bool) -> Replace:
    cursor.space()
    number = STAR if cursor.accept(b"*") else cursor.nonzero()
    name = mailbox(cursor)
    return Replace(NumberSet(((number, number),)), name, _letter(cursor), uid)


def _letter(cursor: Cursor) -> Letter:
    cursor.space()
    flags, received_at = NO_FLAGS, None
    if cursor.peek() == b"(":
        flags = flag_list(cursor)
        cursor.space()
    if cursor.peek() == b'"':
        received_at = date_time(cursor)
        cursor.space()
    if cursor.accept(b"CATENATE "):
        return Letter(flags, received_at, b"", tuple(cursor.listed(_part)))
    # UTF-8 in a header (RFC 6855 4), NUL and long lines (RFC 3516 4.4): all is kept as it is.
    utf8 = b"UTF8=ACCEPT" in cursor.enabled and cursor.accept(b"UTF8 (")
    literal = cursor.literal()
    if literal is None:
        raise SyntaxProblem("the message must be a literal")
    if utf8:
        cursor.expect(b")")
    return Letter(flags, received_at, literal.data)


def _part(cursor: Cursor) -> bytes | MessageUrl | AccessUrl:
    """A part of a message that is put together (RFC 4469 5)."""
    if cursor.accept(b"URL "):
        url = cursor.astring()
        return access_url(url) if is_absolute(url) else message_url(url)
    cursor.expect(b"TEXT ")
    literal = cursor.literal()
    if literal is None:
        raise SyntaxProblem("the text must be a literal")
    return literal.data


def _fetch(cursor: Cursor, *, uid: bool) -> Fetch:
    cursor.space()
    numbers = number_set(cursor)
    cursor.space()
    items = fetch_items(cursor)
    found: dict[str, Any] = dict(cursor.listed(_fetch_modifier)) if cursor.accept(b" ") else {}
    if "vanished" in found and "changed_since" not in found:
        raise SyntaxProblem("VANISHED needs CHANGEDSINCE")
    if not uid and ("vanished" in found or "partial" in found):
        raise SyntaxProblem("VANISHED and PARTIAL need UID FETCH")
    return replace(Fetch(numbers, items, uid), **found)


def _fetch_modifier(cursor: Cursor) -> tuple[str, int | bool | Partial]:
    """A modifier, by the name that it has in a Fetch."""
    match cursor.word():
        case b"CHANGEDSINCE":
            cursor.space()
            return "changed_since", cursor.number(MAX_NUMBER64)
        case b"VANISHED":
            return "vanished", True
        case b"PARTIAL":
            cursor.space()
            return "partial", partial_range(cursor)
    raise SyntaxProblem("unknown FETCH modifier")


def _store(cursor: Cursor, *, uid: bool) -> Store:
    cursor.space()
    numbers = number_set(cursor)
    cursor.space()
    unchanged_since = None
    if cursor.accept(b"(UNCHANGEDSINCE "):
        unchanged_since = cursor.number(MAX_NUMBER64)
        cursor.expect(b")")
        cursor.space()
    op: Literal["add", "remove", "replace"] = (
        "add" if cursor.accept(b"+") else "remove" if cursor.accept(b"-") else "replace"
    )
    cursor.expect(b"FLAGS")
    silent = cursor.accept(b".SILENT")
    cursor.space()
    return Store(numbers, op, bare_or_listed_flags(cursor), silent, uid, unchanged_since)


def _copy(cursor: Cursor, *, uid: bool, move: bool) -> Copy:
    cursor.space()
    numbers = number_set(cursor)
    return Copy(numbers, mailbox(cursor), uid, move)


def _verbs(*, uid: bool) -> Mapping[str, Callable[[Cursor], Command]]:
    return {
        "FETCH": lambda cursor: _fetch(cursor, uid=uid),
        "STORE": lambda cursor: _store(cursor, uid=uid),
        "COPY": lambda cursor: _copy(cursor, uid=uid, move=False),
        "MOVE": lambda cursor: _copy(cursor, uid=uid, move=True),
        "REPLACE": lambda cursor: _replace(cursor, uid=uid),
        **search_verbs(uid=uid),
    }


MESSAGE_COMMANDS: Mapping[str, Callable[[Cursor], Command]] = {"APPEND": _append, **_verbs(uid=False)}
UID_COMMANDS = _verbs(uid=True)
