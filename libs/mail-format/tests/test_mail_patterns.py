"""No regular expression of the package has a possessive or atomic group: Python before 3.11.5 gets them wrong.

One that fails half-way leaves the position there. Possessive repeats of single characters are right everywhere.
"""

import importlib
import pkgutil
import re
from collections.abc import Iterator
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest

import posthorn_mail_format

SINGLE = (_constants.IN, _constants.LITERAL, _constants.NOT_LITERAL, _constants.ANY)


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    for module in pkgutil.iter_modules(posthorn_mail_format.__path__, "posthorn_mail_format."):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name}.{name}", value


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
