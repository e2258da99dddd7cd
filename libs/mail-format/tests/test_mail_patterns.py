"""What no regular expression of the package may have.

A possessive or atomic group: Python before 3.11.5 leaves the position there when one fails half-way; possessive repeats
of single characters are right everywhere. And, in a pattern that is searched for, a run without bound at its beginning:
that takes quadratic time.
"""

import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import posthorn_mail_format

REPEATS = (_constants.MAX_REPEAT, _constants.MIN_REPEAT, _constants.POSSESSIVE_REPEAT)
SINGLE = (_constants.IN, _constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY)


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in pkgutil.iter_modules(posthorn_mail_format.__path__, "posthorn_mail_format."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


def searched(module: str, name: str) -> bool:
    """Whether its module looks for the pattern at each position, not at a given one only."""
    source = inspect.getsource(importlib.import_module(module))
    return re.search(rf"\b{name}(?:\[[^\]]*\])?\.(?:search|sub|subn|findall|finditer|split)\(", source) is not None


def begins_with_run(tree: Any, more: bool = False) -> bool:
    """Whether a match begins with a repeat without bound and goes on after it.

    A search for such a pattern reads a long run again from each of its positions: quadratic.
    """
    for place, (operation, argument) in enumerate(tree):
        rest = more or place + 1 < len(tree)
        if operation is _constants.SUBPATTERN:
            return begins_with_run(argument[3], rest)
        if operation is _constants.BRANCH:
            return any(begins_with_run(branch, rest) for branch in argument[1])
        if operation in REPEATS:
            least, most, _ = argument
            if most is _constants.MAXREPEAT:
                return rest
            if least == 0:
                # What may be absent is no anchor: what comes next may be the first.
                continue
        return False
    return False


def has_possessive_group(tree: Any) -> bool:
    if isinstance(tree, _parser.SubPattern):
        return any(_is_one(operation, argument) or has_possessive_group(argument) for operation, argument in tree)
    return isinstance(tree, tuple | list) and any(map(has_possessive_group, tree))


def _is_one(operation: Any, argument: Any) -> bool:
    if operation is _constants.POSSESSIVE_REPEAT:
        return not (len(argument[2]) == 1 and argument[2][0][0] in SINGLE)
    return operation is _constants.ATOMIC_GROUP


@pytest.mark.parametrize("pattern", [pytest.param(pattern, id=name) for name, pattern in patterns()])
def test_no_group_is_possessive(pattern: re.Pattern[Any]) -> None:
    assert not has_possessive_group(_parser.parse(pattern.pattern, pattern.flags))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("(?:ab)*+", True),
        ("x(?:y|(?:z(?:ab)?+))", True),
        ("(?=(?>ab))", True),
        ("(a(?:b|cd){2,3}+)", True),
        ("(?:[ab]*+c++.?+[^d]{2}+)*", False),
    ],
)
def test_the_look_itself(text: str, found: bool) -> None:
    assert has_possessive_group(_parser.parse(text)) == found


@pytest.mark.parametrize("name", [name for name, _ in patterns()])
def test_no_searched_pattern_begins_with_a_run(name: str) -> None:
    module, _, short = name.rpartition(".")
    pattern = getattr(importlib.import_module(module), short)
    assert not (searched(module, short) and begins_with_run(_parser.parse(pattern.pattern, pattern.flags)))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (r"\r*\n", True),
        (r"(?<!\r)\r*\n", False),
        (r"([a-z]++)@", True),
        (r"(?:x|a*b)", True),
        (r" ?(?:a+)b", True),
        (r"a+", False),
        (r"xa+b", False),
        (r"a{1,60}b", False),
    ],
)
def test_the_look_for_runs_itself(text: str, found: bool) -> None:
    assert begins_with_run(_parser.parse(text)) is found
