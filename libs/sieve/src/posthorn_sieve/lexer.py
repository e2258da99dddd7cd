"""Octets of a script to tokens (RFC 5228 2.2 to 2.4, 8.1). Lines may end in CRLF or LF."""

import re
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from enum import Enum

from posthorn_sieve.errors import InvalidScript

MAX_NUMBER = 2**63 - 1
"""RFC 5228 2.4.1 asks for 2147483647 at least."""

_TOKEN = re.compile(
    r"""(?P<space>[ \t\r\n]++|\#[^\n]*+|/\*(?s:.*?)\*/)
    |(?P<multiline>[tT][eE][xX][tT]:[ \t]*+(?:\#[^\r\n]*+)?\r?\n)
    |(?P<word>[A-Za-z_][A-Za-z0-9_]*+)
    |:(?P<tag>[A-Za-z_][A-Za-z0-9_]*+)
    |(?P<number>[0-9]++)(?P<unit>[A-Za-z]?)(?![A-Za-z0-9_])
    |"(?P<quoted>[^"\\]*+(?:\\(?s:.)[^"\\]*+)*)"
    |(?P<mark>[(){}\[\],;])""",
    re.VERBOSE,
)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_LAST_LINE = re.compile(r"^\.\r?(?:\n|\Z)", re.MULTILINE)
_STUFFED = re.compile(r"^\.\.", re.MULTILINE)
_LINE_END = re.compile(r"\r?\n")
_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Kind(Enum):
    WORD = "a word"
    TAG = "a tag"
    NUMBER = "a number"
    STRING = "a string"
    MARK = "a mark"
    END = "the end of the script"


@dataclass(frozen=True, slots=True)
class Token:
    """One token: `text` is the word or tag in lower case, the string without its quotes, or the mark."""

    kind: Kind
    text: str
    number: int
    line: int
    column: int

    def __str__(self) -> str:
        match self.kind:
            case Kind.WORD | Kind.MARK:
                return f"'{self.text}'"
            case Kind.TAG:
                return f"':{self.text}'"
            case _:
                return str(self.kind.value)


def tokens(script: bytes) -> Iterator[Token]:
    """Yield the tokens of a script, the end last. Raises InvalidScript."""
    source = _decoded(script)
    lines = [0, *(match.end() for match in re.finditer("\n", source))]

    def place(offset: int) -> tuple[int, int]:
        line = bisect_right(lines, offset)
        return line, offset - lines[line - 1] + 1

    position = 0
    while position < len(source):
        match = _TOKEN.match(source, position)
        if match is None:
            raise InvalidScript(_problem(source, position), *place(position))
        line, column = place(position)
        position = match.end()
        group = match.lastgroup
        if group == "word":
            yield Token(Kind.WORD, match[0].lower(), 0, line, column)
        elif group == "mark":
            yield Token(Kind.MARK, match[0], 0, line, column)
        elif group == "quoted":
            yield Token(Kind.STRING, _unquoted(match["quoted"]), 0, line, column)
        elif group == "tag":
            yield Token(Kind.TAG, match["tag"].lower(), 0, line, column)
        elif group == "unit":
            yield Token(Kind.NUMBER, match[0], _number(match, line, column), line, column)
        elif group == "multiline":
            last = _LAST_LINE.search(source, position)
            if last is None:
                raise InvalidScript("a text: has no line with a single dot at its end", line, column)
            yield Token(Kind.STRING, _multiline(source[position : last.start()]), 0, line, column)
            position = last.end()
    yield Token(Kind.END, "", 0, *place(len(source)))


def _decoded(script: bytes) -> str:
    try:
        source = script.decode("utf-8")
    except UnicodeDecodeError as error:
        before = script[: error.start]
        line, start = before.count(b"\n") + 1, before.rfind(b"\n") + 1
        raise InvalidScript("that is not UTF-8", line, error.start - start + 1) from error
    if "\0" in source:
        offset = source.index("\0")
        raise InvalidScript("NUL is not allowed", source.count("\n", 0, offset) + 1)
    return source.removeprefix("\ufeff")


def _problem(source: str, position: int) -> str:
    if source[position] == '"':
        return "a string has no closing quote"
    if source.startswith("/*", position):
        return "a comment has no end"
    if source[position].isdigit():
        return "a number is digits and one of K, M, G"
    return f"unexpected character '{source[position]}'" if source[position].isprintable() else "unexpected character"


def _number(match: re.Match[str], line: int, column: int) -> int:
    unit = _UNITS.get(match["unit"].upper())
    if unit is None:
        raise InvalidScript(f"a number ends in K, M or G, not in '{match['unit']}'", line, column)
    # Twenty digits are too large already; more are not converted.
    digits = match["number"].lstrip("0") or "0"
    value = int(digits) * unit if len(digits) < 20 else MAX_NUMBER + 1
    if value > MAX_NUMBER:
        raise InvalidScript("a number is too large", line, column)
    return value


def _unquoted(text: str) -> str:
    text = _ESCAPED.sub(r"\1", text) if "\\" in text else text
    return _LINE_END.sub("\r\n", text) if "\n" in text else text


def _multiline(text: str) -> str:
    return _LINE_END.sub("\r\n", _STUFFED.sub(".", text))
