"""Names of annotations: lower case, under /private or /shared (RFC 5464 3.2)."""

import re

from posthorn_imap.protocol.cursor import Cursor, SyntaxProblem

MAX_NAMES = 100
"""In one command."""
MAX_NAME = 255
_NAME = re.compile(r"/(?:private|shared)(?:/[^\x00-\x1f\x7f-\uffff*%/]+)*")


def entry_name(cursor: Cursor) -> str:
    """The name of an annotation, in lower case: names have no case (RFC 5464 3.2)."""
    name = cursor.astring().decode("latin-1").lower()
    if len(name) > MAX_NAME or not _NAME.fullmatch(name):
        raise SyntaxProblem("no valid entry name: it begins with /private/ or /shared/")
    return name


def entry_names(cursor: Cursor) -> tuple[str, ...]:
    """One name, or several in parentheses."""
    names = cursor.listed(entry_name) if cursor.peek() == b"(" else [entry_name(cursor)]
    return few(tuple(dict.fromkeys(names)))


def few(names: tuple[str, ...]) -> tuple[str, ...]:
    """The names, if they are not too many."""
    if len(names) > MAX_NAMES:
        raise SyntaxProblem(f"more than {MAX_NAMES} entries")
    return names
