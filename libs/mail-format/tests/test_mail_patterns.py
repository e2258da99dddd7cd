"""Every regular expression of the package: none runs into what Python before 3.11.5 does wrong.

There a possessive group that fails after it has matched something leaves the position where it failed. So each
such group must fail, if it does, at its first step: it looks ahead, or only its first step can fail.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants as c  # type: ignore[attr-defined]
from re import _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import posthorn_mail_format

_REPEATS = (c.MAX_REPEAT, c.MIN_REPEAT, c.POSSESSIVE_REPEAT)


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in pkgutil.iter_modules(posthorn_mail_format.__path__, "posthorn_mail_format."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


def possessive_groups(tree: Any) -> Iterator[Any]:
    for operation, argument in tree:
        if operation is c.POSSESSIVE_REPEAT and len(argument[2]) == 1 and argument[2][0][0] in (c.IN, c.LITERAL):
            continue  # of single characters, which cannot fail half-way
        if operation in (c.POSSESSIVE_REPEAT, c.ATOMIC_GROUP):
            yield argument[2] if operation is c.POSSESSIVE_REPEAT else argument
        for inner in _inside(argument):
            yield from possessive_groups(inner)


def _inside(argument: Any) -> Iterator[Any]:
    if isinstance(argument, _parser.SubPattern):
        yield argument
    elif isinstance(argument, (tuple, list)):
        for each in argument:
            yield from _inside(each)


def fails_at_once_or_never(body: Any) -> bool:
    first, *rest = body
    if first[0] is c.BRANCH:
        return not rest and all(fails_at_once_or_never(each) for each in first[1][1])
    return first[0] is c.ASSERT or all(operation in _REPEATS and argument[0] == 0 for operation, argument in rest)


@pytest.mark.parametrize(("name", "pattern"), list(patterns()))
def test_possessive_groups_do_not_fail_half_way(name: str, pattern: re.Pattern[Any]) -> None:
    for body in possessive_groups(_parser.parse(pattern.pattern, pattern.flags & ~re.UNICODE)):
        assert fails_at_once_or_never(body), body


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        (r"(?:ab)*+", False),
        (r"(?:(?=ab)ab)*+", True),
        (r"(?:a[bc]*+\n?+)*+", True),
        (r"(?:a|bc)?+", False),
        (r"(?:[^a]|(?=bc)bc)*+x", True),
        (r"x(?:y(?:ab)?+)", False),
        (r"(?>ab)", False),
        (r"[ab]*+c++", True),
    ],
)
def test_the_rule_itself(text: str, safe: bool) -> None:
    assert all(map(fails_at_once_or_never, possessive_groups(_parser.parse(text)))) == safe
