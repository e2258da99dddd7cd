"""Message flags: the five system flags as bits, keywords as text (RFC 9051 2.3.2, RFC 8621 4.1.1)."""

import re
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag

from posthorn_model.errors import InvalidKeyword

MAX_KEYWORD_BYTES = 128
MAX_KEYWORDS = 100

# RFC 9051 flag-keyword is an atom; RFC 8621 4.1.1 adds that JMAP keywords are lower case and ASCII %x21-7e.
_KEYWORD = re.compile(r"[!#$&'+\-./0-9:;<=>?@A-Z^_`a-z|}~,]+")


class SystemFlag(IntFlag):
    """The system flags, as stored in one small integer."""

    NONE = 0
    SEEN = 1
    ANSWERED = 2
    FLAGGED = 4
    DELETED = 8
    DRAFT = 16


@dataclass(frozen=True, slots=True)
class Flags:
    """The flags of one message in one mailbox: system bits and lower-case keywords."""

    system: SystemFlag = SystemFlag.NONE
    keywords: frozenset[str] = frozenset()


NO_FLAGS = Flags()


def keyword(text: str) -> str:
    """Return the stored (lower-case) form of a keyword.

    Raises InvalidKeyword when it is empty, longer than 128 bytes or no flag-keyword.
    """
    if len(text) > MAX_KEYWORD_BYTES or not _KEYWORD.fullmatch(text):
        raise InvalidKeyword(text)
    return text.lower()


def keywords(texts: Iterable[str]) -> frozenset[str]:
    """Return the stored forms of several keywords; raises InvalidKeyword, also for more than 100."""
    found = frozenset(keyword(text) for text in texts)
    if len(found) > MAX_KEYWORDS:
        raise InvalidKeyword(f"more than {MAX_KEYWORDS} keywords")
    return found
