"""Finds the line of every key in a TOML text that tomllib has already accepted (tomllib itself keeps no lines).

It only walks: it relies on the text being valid TOML 1.0 and decodes nothing but keys.
"""

import re
import tomllib

from posthorn_node.settings.problems import KeyPath

_SPACE = re.compile(r"[ \t\r\n]+|#[^\n]*")
_BLANK = re.compile(r"[ \t]*")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")
_BASIC = re.compile(r'"(?:[^"\\\n]|\\.)*"')
_LITERAL = re.compile(r"'[^'\n]*'")
_LONG_BASIC = re.compile(r'"""(?:[^\\]|\\.)*?"{3,5}(?!")', re.DOTALL)
_LONG_LITERAL = re.compile(r"'''.*?'{3,5}(?!')", re.DOTALL)
_SCALAR = re.compile(r"[^,\]}#\n]+")


class _Walker:
    """A position in the text; each method moves it over one thing of the grammar."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.counted = 0
        self.line = 1
        self.lines: dict[KeyPath, int] = {}
        self.tables: dict[KeyPath, int] = {}
        """How often each array of tables (`[[x]]`) was opened."""

    def mark(self, path: KeyPath) -> None:
        """Note the current line for a path and for those of its parents that have none yet."""
        self.line += self.text.count("\n", self.counted, self.at)
        self.counted = self.at
        for length in range(1, len(path) + 1):
            self.lines.setdefault(path[:length], self.line)
        self.lines[path] = self.line

    def skip(self, pattern: re.Pattern[str]) -> None:
        while (match := pattern.match(self.text, self.at)) and match.end() > self.at:
            self.at = match.end()

    def peek(self, *texts: str) -> bool:
        return self.text.startswith(texts, self.at)

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        found = match.group() if match else self.text[self.at : self.at + 1]
        self.at += len(found)
        return found

    def key(self) -> tuple[str, ...]:
        """A dotted key, up to but without the character that ends it."""
        parts = []
        while True:
            self.skip(_BLANK)
            if self.peek('"'):
                parts.append(str(tomllib.loads("k = " + self.take(_BASIC))["k"]))
            elif self.peek("'"):
                parts.append(self.take(_LITERAL)[1:-1])
            else:
                parts.append(self.take(_BARE_KEY))
            self.skip(_BLANK)
            if not self.peek("."):
                return tuple(parts)
            self.at += 1

    def pair(self, table: KeyPath) -> None:
        """`key = value` of a table."""
        start = self.at
        path = table + self.key()
        end, self.at = self.at, start
        self.mark(path)
        self.at = end + 1
        self.value(path)

    def value(self, path: KeyPath) -> None:
        self.skip(_SPACE)
        if self.peek('"""'):
            self.take(_LONG_BASIC)
        elif self.peek("'''"):
            self.take(_LONG_LITERAL)
        elif self.peek('"'):
            self.take(_BASIC)
        elif self.peek("'"):
            self.take(_LITERAL)
        elif self.peek("[", "{"):
            self.several(path)
        else:
            self.take(_SCALAR)

    def several(self, path: KeyPath) -> None:
        """An array or an inline table."""
        table = self.peek("{")
        self.at += 1
        index = 0
        while True:
            self.skip(_SPACE)
            if self.at >= len(self.text) or self.peek("]", "}"):
                self.at += 1
                return
            if self.peek(","):
                self.at += 1
            elif table:
                self.pair(path)
            else:
                self.mark((*path, index))
                self.value((*path, index))
                index += 1

    def header(self) -> KeyPath:
        """`[table]` or `[[array of tables]]`; returns the path of the table it opens."""
        double = self.peek("[[")
        start = self.at
        self.at += 2 if double else 1
        path: KeyPath = self.placed(self.key(), open_last=double)
        end, self.at = self.at, start
        self.mark(path)
        self.at = end + (2 if double else 1)
        return path

    def placed(self, key: tuple[str, ...], *, open_last: bool) -> KeyPath:
        """The path of a header's key with the indexes of the arrays of tables that it goes through."""
        path: KeyPath = ()
        for number, part in enumerate(key, start=1):
            path = (*path, part)
            if open_last and number == len(key):
                self.tables[path] = self.tables.get(path, 0) + 1
            if path in self.tables:
                path = (*path, self.tables[path] - 1)
        return path


def lines_of(text: str) -> dict[KeyPath, int]:
    """The line, from 1, of each table, key and list item of a valid TOML text."""
    walker = _Walker(text)
    table: KeyPath = ()
    while True:
        walker.skip(_SPACE)
        if walker.at >= len(text):
            return walker.lines
        if walker.peek("["):
            table = walker.header()
        else:
            walker.pair(table)
