"""Names of mailboxes: what one level of a mailbox's path may be."""

import unicodedata

from posthorn_mail_format.search_texts import clean
from posthorn_model.errors import InvalidName

MAX_NAME_BYTES = 255
MAX_DEPTH = 16
MAX_MAILBOXES = 5000


def mailbox_name(text: str) -> str:
    """The stored form of one level of a mailbox name: Unicode NFC (RFC 8621 2). Raises InvalidName.

    Refused: empty names, more than 255 bytes, control characters, the hierarchy separator "/".
    """
    name = unicodedata.normalize("NFC", clean(text)) if len(text) <= MAX_NAME_BYTES else ""
    wrong = any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text[:MAX_NAME_BYTES])
    if not name.strip() or wrong or "/" in name or name != name.strip() or len(name.encode()) > MAX_NAME_BYTES:
        raise InvalidName(text if 0 < len(text) <= MAX_NAME_BYTES and not wrong else None)
    return name


def is_inbox_name(name: str) -> bool:
    """Whether a top-level name means the inbox (RFC 9051 5.1: in any case of letters)."""
    return name.isascii() and name.upper() == "INBOX"
