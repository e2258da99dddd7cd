"""Comparing values with keys (RFC 5228 2.7, RFC 5231 4, :regex). Nothing here takes more than linear steps per key."""

import operator
import re
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from typing import Any

from posthorn_sieve import patterns
from posthorn_sieve.comparators import Comparator, folded, order_key
from posthorn_sieve.errors import InvalidScript, ScriptFailed
from posthorn_sieve.limits import Limits
from posthorn_sieve.program import Match, MatchType

_RELATIONS: dict[str, Callable[[Any, Any], bool]] = {
    "gt": operator.gt,
    "ge": operator.ge,
    "lt": operator.lt,
    "le": operator.le,
    "eq": operator.eq,
    "ne": operator.ne,
}
_GLOB = re.compile(r"\\(.)|([*?])|([^\\*?]+)|\\", re.DOTALL)
_STEP = 1_000
"""Characters compared for one step."""

Bind = Callable[[Sequence[str]], None]
"""Is told what the wildcards or groups of the match were, the whole first (RFC 5229 3.2)."""
Spend = Callable[[int], None]
"""Is told the steps of a comparison before it is made; raises LimitReached."""


def any_matches(
    match: Match, values: Iterable[str], keys: Sequence[str], *, limits: Limits, spend: Spend, bind: Bind
) -> bool:
    """Whether any value matches any key. Raises ScriptFailed for a key that is no regular expression."""
    if match.type is MatchType.COUNT:
        count = str(sum(1 for _ in values))
        return any(_related(match, count, key) for key in keys)
    for value in values:
        for key in keys:
            spend(1 + (len(value) + len(key)) // _STEP)
            if _matches(match, value, key, limits, spend, bind):
                return True
    return False


def _related(match: Match, value: str, key: str) -> bool:
    comparator = match.comparator
    return _RELATIONS[match.relation](order_key(comparator, value), order_key(comparator, key))


def _matches(match: Match, value: str, key: str, limits: Limits, spend: Spend, bind: Bind) -> bool:
    comparator = match.comparator
    match match.type:
        case MatchType.VALUE:
            return _related(match, value, key)
        case MatchType.IS:
            return bool(order_key(comparator, value) == order_key(comparator, key))
        case MatchType.CONTAINS:
            return folded(comparator, key) in folded(comparator, value)
        case MatchType.MATCHES:
            found = glob(value, key, comparator, spend)
        case _:
            found = _search(value, key, comparator, limits)
    if found is None:
        return False
    bind(found)
    return True


def _search(value: str, key: str, comparator: Comparator, limits: Limits) -> Sequence[str] | None:
    try:
        patterns.check(key, length=limits.regex_length, memory=limits.regex_memory)
    except InvalidScript as error:
        raise ScriptFailed(error.problem) from error
    return patterns.search(key, value, case=comparator is Comparator.OCTET, memory=limits.regex_memory)


def glob(value: str, key: str, comparator: Comparator, spend: Spend) -> Sequence[str] | None:
    """Return the whole and what each wildcard of `key` stands for; None for no match.

    A star takes as little as it can, from the left on (RFC 5229 3.2): so each stretch between stars is looked for where
    it comes first, and only the last one is held to the end. No step is ever taken back.
    """
    stretches = _stretches(folded(comparator, key))
    text = folded(comparator, value)
    wild = sum(count for _, count in stretches)
    spend((len(text) * wild) // (_STEP * 10))
    first, first_wild = stretches[0]
    found = first.fullmatch(text) if len(stretches) == 1 else first.match(text)
    if found is None:
        return None
    taken = [found.span(group) for group in range(1, first_wild + 1)]
    position = found.end()
    for pattern, count in stretches[1:-1]:
        found = pattern.search(text, position)
        if found is None:
            return None
        taken.append((position, found.start()))
        taken += [found.span(group) for group in range(1, count + 1)]
        position = found.end()
    if len(stretches) > 1:
        last, count = stretches[-1]
        start = len(text) - _length(last.pattern, count)
        found = last.fullmatch(text, start) if start >= position else None
        if found is None:
            return None
        taken.append((position, start))
        taken += [found.span(group) for group in range(1, count + 1)]
    return [value, *(value[start:end] for start, end in taken)]


@lru_cache(maxsize=1024)
def _stretches(key: str) -> tuple[tuple[re.Pattern[str], int], ...]:
    """What stands between the stars of a key, each as a pattern of fixed length, with the number of its `?`."""
    stretches: list[tuple[str, int]] = [("", 0)]
    for part in _GLOB.finditer(key):
        pattern, count = stretches[-1]
        if part[2] == "*":
            stretches.append(("", 0))
        elif part[2] == "?":
            stretches[-1] = (pattern + "(.)", count + 1)
        else:
            stretches[-1] = (pattern + re.escape(part[1] or part[3] or "\\"), count)
    return tuple((re.compile(pattern, re.DOTALL), count) for pattern, count in stretches)


@lru_cache(maxsize=1024)
def _length(pattern: str, count: int) -> int:
    """Characters that a stretch takes."""
    return len(re.sub(r"\\(.)|\(\.\)", "x", pattern, flags=re.DOTALL)) if count or "\\" in pattern else len(pattern)
