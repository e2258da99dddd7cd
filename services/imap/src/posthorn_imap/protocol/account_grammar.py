"""Arguments of the commands on what an account has: quota (RFC 9208), annotations (RFC 5464)."""

import re
from collections.abc import Callable, Mapping

from posthorn_imap.protocol.commands import (
    Command,
    GetMetadata,
    GetQuota,
    GetQuotaRoot,
    SetMetadata,
)
from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem
from posthorn_imap.protocol.mailbox_grammar import mailbox
from posthorn_imap.protocol.metadata_names import MAX_NAME, entry_name, entry_names, few

_OPTIONS_AHEAD = re.compile(rb" (?=\([A-Za-z])")
_DEPTHS = {b"0": 0, b"1": 1, b"INFINITY": MAX_NAME}


def _get_metadata(cursor: Cursor) -> GetMetadata:
    """The options stand in front of the mailbox in the syntax of RFC 5464, and behind it in its examples."""
    options = dict(cursor.listed(_option)) if cursor.match(_OPTIONS_AHEAD) else {}
    name = mailbox(cursor)
    if cursor.match(_OPTIONS_AHEAD):
        options |= dict(cursor.listed(_option))
    cursor.space()
    return GetMetadata(name, entry_names(cursor), options.get(b"DEPTH", 0), options.get(b"MAXSIZE"))


def _option(cursor: Cursor) -> tuple[bytes, int]:
    match cursor.word():
        case b"MAXSIZE":
            cursor.space()
            return b"MAXSIZE", cursor.number()
        case b"DEPTH":
            cursor.space()
            depth = _DEPTHS.get(cursor.word())
            if depth is not None:
                return b"DEPTH", depth
    raise SyntaxProblem("unknown GETMETADATA option")


def _set_metadata(cursor: Cursor) -> SetMetadata:
    name = mailbox(cursor)
    cursor.space()
    values = dict(cursor.listed(_entry_value))
    few(tuple(values))
    if not all(entry.count("/") > 1 for entry in values):
        raise SyntaxProblem("no valid entry name: it begins with /private/ or /shared/")
    return SetMetadata(name, tuple(values.items()))


def _entry_value(cursor: Cursor) -> tuple[str, bytes | None]:
    name = entry_name(cursor)
    cursor.space()
    literal = cursor.literal()
    if literal is None:
        return name, cursor.nstring()
    if b"\0" in literal.data and not literal.binary:
        raise SyntaxProblem("NUL in a literal")
    return name, literal.data


def _get_quota(cursor: Cursor) -> GetQuota:
    cursor.space()
    return GetQuota(cursor.astring())


ACCOUNT_COMMANDS: Mapping[str, Callable[[Cursor], Command]] = {
    "GETQUOTA": _get_quota,
    "GETQUOTAROOT": lambda cursor: GetQuotaRoot(mailbox(cursor)),
    "GETMETADATA": _get_metadata,
    "SETMETADATA": _set_metadata,
}
