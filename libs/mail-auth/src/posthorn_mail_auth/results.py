"""Authentication-Results (RFC 8601): written by us, and those of others in our name taken away."""

import re
from collections.abc import Sequence
from typing import NamedTuple

from posthorn_mail_format.headers import field_at, header_end, iterate

FIELD = b"authentication-results"
MAX_VALUE = 500
_TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~]+\Z")
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9!#$%&'*+\-.^_`{|}~/:@=]+\Z")
_UNPRINTABLE = re.compile(r"[^ -~]")
_NO_COMMENT = re.compile(r"[^ -'*-\[\]-~]")
_COMMENT = re.compile(rb"\([^()]*\)")
_ID = re.compile(rb'[ \t\r\n]*(?:"([^"]{0,1000})"|([^\s;"()]{1,1000}))[ \t\r\n]*(?:[0-9]{1,5}[ \t\r\n]*)?(?:;|\Z)')
_WIDTH = 78


class MethodResult(NamedTuple):
    """One resinfo: a method, its result, and what it was about. A tuple, since each message has half a dozen."""

    method: str
    result: str
    reason: str = ""
    properties: tuple[tuple[str, str], ...] = ()
    """("smtp.mailfrom", "ann@example.org"), ...; empty values are left out."""
    comment: str = ""


def write(authserv_id: str, methods: Sequence[MethodResult]) -> bytes:
    """The field with its line ends; values of others cannot add a line, a field or a result to it."""
    return fold(f"Authentication-Results: {authserv_id}", methods)


def fold(start: str, methods: Sequence[MethodResult]) -> bytes:
    """`start`, then the results, each on a line of its own, or "none"."""
    if not methods:
        return f"{start}; none\r\n".encode()
    return (start + "".join(map(_folded, methods)) + "\r\n").encode("ascii", "replace")


def _folded(method: MethodResult) -> str:
    """One result behind what stands before it, on as many lines as it needs."""
    text = ";"
    room = 0
    for word in _words(method):
        room -= 1 + len(word)
        if room < 0:
            text += "\r\n\t" + word
            room = _WIDTH - 1 - len(word)
        else:
            text += " " + word
    return text


def _words(method: MethodResult) -> list[str]:
    words = [f"{method.method}={method.result}"]
    if method.comment:
        words.append("(" + _NO_COMMENT.sub("?", method.comment)[:MAX_VALUE] + ")")
    if method.reason:
        words.append(f"reason={_value(method.reason, quoted=True)}")
    return words + [f"{name}={_value(text)}" for name, text in method.properties if text]


def _value(text: str, *, quoted: bool = False) -> str:
    """As it is where it may stand so, else as a quoted string of printable ASCII."""
    text = text[:MAX_VALUE]
    if not quoted and _PLAIN_VALUE.match(text):
        return text
    text = _UNPRINTABLE.sub("?", text)
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def authserv_id_of(value: bytes) -> str | None:
    """The id in front of a field's value, in lower case; None when none can be read."""
    value = value[:10_000]
    for _ in range(10):
        value, count = _COMMENT.subn(b" ", value)
        if not count:
            break
    match = _ID.match(value)
    if match is None:
        return None
    return (match[1] or match[2] or b"").decode("ascii", "replace").lower()


def strip(head: bytes, authserv_id: str) -> bytes:
    """A header section without the fields that claim to be ours, or do not say whose they are (RFC 8601 5).

    What stays is octet for octet as it was; `head` itself when nothing goes.
    """
    if FIELD not in head.lower():
        return head
    kept: list[bytes] = []
    position = 0
    end = header_end(head, 0, len(head))
    field = next(iterate(head, 0, end), None)
    while field is not None:  # to the last one, however many there are
        if field.name.lower() == FIELD and authserv_id_of(field.value) in (None, authserv_id.lower()):
            kept.append(head[position : field.start])
            position = field.end
        field = field_at(head, field.end, end)
    return b"".join([*kept, head[position:]]) if kept else head
