"""Text of Rich Text Format (version 1.9.1) in one pass: groups, code pages, Unicode escapes, hidden destinations."""

import re

from posthorn_mail_format.charsets import codec_name
from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.reading import Reading

_TOKEN = re.compile(
    rb"\\([A-Za-z]{1,32})(-?[0-9]{1,10})?\x20?|\\'([0-9A-Fa-f]{2})|\\([^A-Za-z'])|([{}])|([^\\{}\r\n]++)", re.DOTALL
)
_MAX_DEPTH = 10_000
_HIDDEN = frozenset(
    b"fonttbl colortbl stylesheet info pict object objdata themedata colorschememapping datastore listtable"
    b" latentstyles listoverridetable rsidtbl generator xmlnstbl fldinst filetbl revtbl pgptbl mmathPr"
    b" nonshppict".split()
)
_LINES = frozenset(b"par line row sect page softline".split())
_SIGNS = {
    b"tab": "\t", b"cell": " ", b"emdash": "—", b"endash": "–", b"lquote": "‘", b"rquote": "’", b"ldblquote": "“",
    b"rdblquote": "”", b"bullet": "•", b"emspace": " ", b"enspace": " ",
}  # fmt: skip
_SYMBOLS = {b"\\": "\\", b"{": "{", b"}": "}", b"~": " ", b"_": "-", b"\n": "\n", b"\r": "\n"}


def read(data: bytes, reading: Reading) -> None:
    """Gather the text of an RTF document. Raises Unreadable when it is none."""
    if not data.lstrip()[:6].startswith(b"{\\rtf"):
        raise Unreadable("the document is no RTF")
    _Reader(data, reading).run()


class _Reader:
    """The state of the reading: the group's hiddenness and Unicode skip count, and octets not yet decoded."""

    __slots__ = ("codec", "data", "hidden", "octets", "reading", "skip", "stack", "surrogate", "unicode_skip")

    def __init__(self, data: bytes, reading: Reading) -> None:
        self.data = data
        self.reading = reading
        self.codec = "cp1252"
        self.hidden = False
        self.unicode_skip = 1
        self.skip = 0
        self.surrogate = 0
        self.octets = bytearray()
        self.stack: list[tuple[bool, int]] = []

    def run(self) -> None:
        position = 0
        while match := _TOKEN.search(self.data, position):
            position = match.end()
            word, number, octet, symbol, brace, text = match.groups()
            if text is not None:
                self.text(text)
            elif word is not None:
                if word == b"bin":
                    position += max(int(number or 0), 0)
                self.word(word, int(number) if number else None)
            elif octet is not None:
                self.text(bytes.fromhex(octet.decode("ascii")))
            elif brace is not None:
                self.brace(brace)
            elif symbol == b"*":
                self.hidden = True
            else:
                self.sign(_SYMBOLS.get(symbol, ""))
        self.flush()

    def text(self, text: bytes) -> None:
        if self.skip:
            skipped = min(self.skip, len(text))
            self.skip -= skipped
            text = text[skipped:]
        if not self.hidden:
            self.octets += text

    def brace(self, brace: bytes) -> None:
        self.flush()
        self.skip = 0
        if brace == b"{":
            if len(self.stack) >= _MAX_DEPTH:
                raise Unreadable("the document is nested too deeply")
            self.stack.append((self.hidden, self.unicode_skip))
        elif self.stack:
            self.hidden, self.unicode_skip = self.stack.pop()

    def word(self, word: bytes, number: int | None) -> None:
        if word in _HIDDEN:
            self.hidden = True
        elif word == b"u" and number is not None:
            self.unicode(number & 0xFFFF)
        elif word == b"uc":
            self.unicode_skip = min(max(number or 0, 0), 100)
        elif word == b"ansicpg" and number is not None:
            self.codec = codec_name(f"cp{number}") or "cp1252"
        elif word in _LINES:
            self.sign("\n")
        elif word in _SIGNS:
            self.sign(_SIGNS[word])

    def sign(self, sign: str) -> None:
        self.flush()
        if sign and not self.hidden:
            self.reading.add(sign)

    def unicode(self, unit: int) -> None:
        """One UTF-16 unit; a pair of surrogates comes as two words."""
        self.flush()
        self.skip = self.unicode_skip
        if 0xD800 <= unit < 0xDC00:
            self.surrogate = unit
            return
        if 0xDC00 <= unit < 0xE000:
            if not self.surrogate:
                return
            unit = 0x10000 + ((self.surrogate - 0xD800) << 10) + (unit - 0xDC00)
        self.surrogate = 0
        if not self.hidden:
            self.reading.add(chr(unit))

    def flush(self) -> None:
        if self.octets:
            self.reading.check_time()
            self.reading.add(self.octets.decode(self.codec, "replace"))
            self.octets.clear()
