"""URLs of messages and their parts that name no server, as CATENATE takes them (RFC 4469, RFC 5092).

Those that name a server are read by posthorn_imap.protocol.url_access.
"""

import re
from dataclasses import dataclass
from urllib.parse import unquote_to_bytes

from posthorn_imap.protocol.cursor import MAX_NUMBER, Cursor, SyntaxProblem, Unsupported
from posthorn_imap.protocol.fetch_items import Section, fetch_items
from posthorn_model.mailbox_paths import with_inbox

MAX_URL = 4096
_URL = re.compile(
    r"(?:/(?P<mailbox>[^;?#]*))?(?:;UIDVALIDITY=(?P<validity>[0-9]{1,10}))?/?;UID=(?P<uid>[0-9]{1,10})"
    r"(?:/;SECTION=(?P<section>[^;?#]+))?(?:/;PARTIAL=(?P<start>[0-9]{1,10})(?:\.(?P<length>[0-9]{1,10}))?)?",
    re.IGNORECASE | re.ASCII,
)
_UNSAFE = re.compile(rb'[^\x20-\x7e]|["\\\]]')


class BadUrl(Unsupported):
    """A URL that leads nowhere (RFC 4469 4)."""

    def __init__(self, url: bytes) -> None:
        super().__init__("That URL names nothing that can be read here")
        self.text = "That URL names nothing that can be read here"
        self.code = b'BADURL "' + _UNSAFE.sub(b"?", url[:255]) + b'"'


@dataclass(frozen=True, slots=True)
class MessageUrl:
    """`mailbox` is "" for the selected one; `section`: what of the message is meant."""

    url: bytes
    mailbox: str
    uidvalidity: int | None
    uid: int
    section: Section


def message_url(octets: bytes) -> MessageUrl:
    """Read a URL. Raises BadUrl."""
    usual = len(octets) <= MAX_URL and octets.isascii()
    found = _URL.fullmatch(octets.decode("ascii")) if usual else None
    if found is None or int(found["uid"]) > MAX_NUMBER:
        raise BadUrl(octets)
    try:
        mailbox = unquote_to_bytes(found["mailbox"] or "").decode("utf-8")
        section = _section(unquote_to_bytes(found["section"] or ""), found["start"], found["length"])
    except (UnicodeDecodeError, SyntaxProblem):
        raise BadUrl(octets) from None
    # The slash in front of ";UID=" belongs to the name as the expression reads it.
    name = with_inbox(mailbox.removesuffix("/"))
    return MessageUrl(octets, name, int(found["validity"]) if found["validity"] else None, int(found["uid"]), section)


def _section(text: bytes, start: str | None, length: str | None) -> Section:
    """The section as FETCH reads it. Raises SyntaxProblem."""
    partial = b"" if start is None else f"<{int(start)}.{int(length or MAX_NUMBER)}>".encode()
    cursor = Cursor((b"BODY.PEEK[" + text + b"]" + partial,))
    (item,) = fetch_items(cursor)
    cursor.end()
    if not isinstance(item, Section):
        raise SyntaxProblem("no body section")
    return item
