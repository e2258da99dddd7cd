"""The grammar (RFC 5228 8.2): tokens to a tree of commands and tests that knows no meaning yet."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeAlias

from posthorn_sieve.errors import InvalidScript
from posthorn_sieve.lexer import Kind, Token, tokens
from posthorn_sieve.limits import Limits


@dataclass(frozen=True, slots=True)
class Tag:
    name: str
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Number:
    value: int
    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Strings:
    """One string, or a list in brackets."""

    values: tuple[str, ...]
    listed: bool
    line: int
    column: int


Argument: TypeAlias = Tag | Number | Strings


@dataclass(slots=True)
class Node:
    """A command or a test, as written: `block` is None where there are no braces."""

    name: str
    line: int
    column: int
    arguments: list[Argument] = field(default_factory=list)
    tests: list["Node"] = field(default_factory=list)
    several: bool = False
    """The tests stood in parentheses."""
    block: "list[Node] | None" = None


def parse(script: bytes, limits: Limits) -> list[Node]:
    """Return the commands of a script. Raises InvalidScript."""
    if len(script) > limits.script_size:
        raise InvalidScript(f"the script is larger than {limits.script_size} octets")
    return _Parser(tokens(script), limits).commands(0, end=Kind.END)


class _Parser:
    """One token of look-ahead."""

    __slots__ = ("limits", "rest", "token")

    def __init__(self, rest: Iterator[Token], limits: Limits) -> None:
        self.rest = rest
        self.limits = limits
        self.token = next(rest)

    def advance(self) -> Token:
        token = self.token
        if token.kind is not Kind.END:
            self.token = next(self.rest)
        return token

    def is_mark(self, mark: str) -> bool:
        return self.token.kind is Kind.MARK and self.token.text == mark

    def fail(self, problem: str) -> InvalidScript:
        return InvalidScript(problem, self.token.line, self.token.column)

    def commands(self, depth: int, end: Kind) -> list[Node]:
        found: list[Node] = []
        while self.token.kind is not end or (end is Kind.MARK and self.token.text != "}"):
            found.append(self.command(depth))
        self.advance()
        return found

    def command(self, depth: int) -> Node:
        if self.token.kind is not Kind.WORD:
            if self.token.kind is Kind.END:
                raise self.fail("a block has no closing brace")
            raise self.fail(f"a command begins with its name, not with {self.token}")
        if depth > self.limits.nesting:
            raise self.fail(f"blocks are nested deeper than {self.limits.nesting}")
        node = self.words(depth)
        if self.is_mark(";"):
            self.advance()
        elif self.is_mark("{"):
            self.advance()
            node.block = self.commands(depth + 1, end=Kind.MARK)
        else:
            raise self.fail(f"expected ';' or a block after '{node.name}', not {self.token}")
        return node

    def words(self, depth: int) -> Node:
        """A name with its arguments and tests."""
        name = self.advance()
        node = Node(name.text, name.line, name.column)
        while (argument := self.argument()) is not None:
            node.arguments.append(argument)
        if self.token.kind is Kind.WORD:
            node.tests.append(self.test(depth))
        elif self.is_mark("("):
            self.advance()
            node.several = True
            node.tests.append(self.test(depth))
            while self.is_mark(","):
                self.advance()
                node.tests.append(self.test(depth))
            if not self.is_mark(")"):
                raise self.fail(f"expected ',' or ')' in a list of tests, not {self.token}")
            self.advance()
        return node

    def test(self, depth: int) -> Node:
        if self.token.kind is not Kind.WORD:
            raise self.fail(f"expected a test, not {self.token}")
        if depth > self.limits.nesting:
            raise self.fail(f"tests are nested deeper than {self.limits.nesting}")
        return self.words(depth + 1)

    def argument(self) -> Argument | None:
        token = self.token
        if token.kind is Kind.TAG:
            self.advance()
            return Tag(token.text, token.line, token.column)
        if token.kind is Kind.NUMBER:
            self.advance()
            return Number(token.number, token.line, token.column)
        if token.kind is Kind.STRING:
            self.advance()
            return Strings((token.text,), False, token.line, token.column)
        return self.strings() if self.is_mark("[") else None

    def strings(self) -> Strings:
        opening = self.advance()
        values: list[str] = []
        while True:
            if self.token.kind is not Kind.STRING:
                raise self.fail(f"expected a string in a list, not {self.token}")
            values.append(self.advance().text)
            if len(values) > self.limits.keys:
                raise self.fail(f"a list holds more than {self.limits.keys} strings")
            if not self.is_mark(","):
                break
            self.advance()
        if not self.is_mark("]"):
            raise self.fail(f"expected ',' or ']' in a list of strings, not {self.token}")
        self.advance()
        return Strings(tuple(values), True, opening.line, opening.column)
