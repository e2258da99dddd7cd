"""Mailbox names: modified UTF-7 (RFC 3501 5.1.3) or UTF-8 (RFC 9051 5.1), levels, INBOX, and the patterns of LIST."""

import binascii
import re
import unicodedata
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache

from posthorn_imap.protocol.cursor import SyntaxProblem
from posthorn_model.mailbox_paths import INBOX, SEPARATOR, with_inbox

MAX_NAME_BYTES = 4096
UTF8_NAMES = frozenset({b"IMAP4REV2", b"UTF8=ACCEPT"})
"""What a client enables to read and write names in UTF-8."""
_SHIFTED = re.compile(r"&([A-Za-z0-9+,]*)-")
_TOKENS = re.compile(r"[*%]+|[^*%]", re.DOTALL)
_OTHER_RUN = re.compile(r"[^\x20-\x7e]+")


def decode_utf7(octets: bytes) -> str:
    """Text of a name in modified UTF-7. Raises SyntaxProblem for anything the encoder would not have written."""
    try:
        text = octets.decode("ascii")
    except UnicodeDecodeError:
        raise SyntaxProblem("mailbox names are in modified UTF-7") from None
    found, at = [], 0
    while at < len(text):
        if text[at] == "&":
            shifted = _SHIFTED.match(text, at)
            if shifted is None:
                raise SyntaxProblem("invalid modified UTF-7 in a mailbox name")
            found.append(_unshift(shifted[1]) if shifted[1] else "&")
            at = shifted.end()
        elif " " <= text[at] <= "~":
            found.append(text[at])
            at += 1
        else:
            raise SyntaxProblem("control character in a mailbox name")
    decoded = "".join(found)
    if encode_utf7(decoded) != octets:
        raise SyntaxProblem("invalid modified UTF-7 in a mailbox name")
    return decoded


def _unshift(base64: str) -> str:
    padded = base64.replace(",", "/") + "=" * (-len(base64) % 4)
    try:
        return binascii.a2b_base64(padded).decode("utf-16-be")
    except (binascii.Error, UnicodeDecodeError):
        raise SyntaxProblem("invalid modified UTF-7 in a mailbox name") from None


def encode_utf7(name: str) -> bytes:
    """A name in modified UTF-7."""
    escaped = name.replace("&", "&-")
    return _OTHER_RUN.sub(_shift, escaped).encode("ascii")


def _shift(run: re.Match[str]) -> str:
    octets = run[0].encode("utf-16-be", "surrogatepass")
    base64 = binascii.b2a_base64(octets, newline=False).decode().rstrip("=").replace("/", ",")
    return f"&{base64}-"


def decode_name(octets: bytes, *, utf8: bool) -> str:
    """The text of a name or a pattern, in UTF-8 or else in modified UTF-7. Raises SyntaxProblem."""
    if len(octets) > MAX_NAME_BYTES:
        raise SyntaxProblem("mailbox name too long")
    if not utf8:
        return decode_utf7(octets)
    try:
        text = octets.decode("utf-8")
    except UnicodeDecodeError:
        raise SyntaxProblem("mailbox names are in UTF-8") from None
    # RFC 9051 5.1: Net-Unicode (RFC 5198), of which neither control characters nor line separators are.
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in text):
        raise SyntaxProblem("control character in a mailbox name")
    return text


def mailbox_name(octets: bytes, *, utf8: bool = False) -> str:
    """The name a client means: decoded, INBOX (also as first level) in upper case (RFC 9051 5.1)."""
    return with_inbox(decode_name(octets, utf8=utf8))


def levels(name: str) -> tuple[str, ...]:
    return tuple(name.split(SEPARATOR))


@dataclass(frozen=True, slots=True)
class Pattern:
    """A LIST pattern: "*" is anything, "%" anything within one level. Matching takes time linear in the name.

    Bit i of each mask stands for token i of the pattern (a letter, or a run of wildcards).
    """

    anything: int
    one_level: int
    letters: Mapping[str, int]
    end: int

    def matches(self, name: str) -> bool:
        wild = self.anything | self.one_level
        reached = self._skipping(1, wild)
        for letter in name:
            stay = self.anything if letter == SEPARATOR else wild
            reached = self._skipping((reached & self.letters.get(letter, 0)) << 1 | (reached & stay), wild)
            if not reached:
                return False
        return bool(reached & self.end)

    @staticmethod
    def _skipping(reached: int, wild: int) -> int:
        """A wildcard may stand for nothing; runs are one token, so one step is enough."""
        return reached | (reached & wild) << 1


def _pattern(text: str) -> Pattern:
    anything = one_level = at = 0
    letters: dict[str, int] = {}
    for run in _TOKENS.findall(text):
        bit = 1 << at
        if run[0] not in "*%":
            letters[run] = letters.get(run, 0) | bit
        elif "*" in run:
            anything |= bit
        else:
            one_level |= bit
        at += 1
    return Pattern(anything, one_level, letters, 1 << at)


@lru_cache(maxsize=256)
def patterns(text: str) -> tuple[Pattern, ...]:
    """What a pattern as the client wrote it means: itself, and in upper case for INBOX, which has no case."""
    return _pattern(with_inbox(text)), _pattern(text.upper())


def matches(name: str, wanted: str) -> bool:
    """Whether a name matches a LIST pattern; INBOX matches in any case."""
    usual, upper = patterns(wanted)
    return usual.matches(name) or (name == INBOX and upper.matches(name))
