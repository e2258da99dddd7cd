"""Variables (RFC 5229), with :quoteregex of :regex and :encodeurl of RFC 5435 6."""

import re
from urllib.parse import quote

from posthorn_sieve.errors import InvalidScript, LimitReached
from posthorn_sieve.program import Call, Kind, MatchType, Scope, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.texts import variable_name
from posthorn_sieve.words import tags

_WILD = re.compile(r"([*?\\])")
_REGEX = re.compile(r"([\\^$.|?*+(){}\[\]])")

MODIFIERS = {
    "lower": Tag(group="40"),
    "upper": Tag(group="40"),
    "lowerfirst": Tag(group="30"),
    "upperfirst": Tag(group="30"),
    "quotewildcard": Tag(group="20"),
    "quoteregex": Tag(needs="regex", group="20"),
    "encodeurl": Tag(needs="enotify", group="15"),
    "length": Tag(group="10"),
}
"""By falling precedence, which is their group (RFC 5229 4.1)."""


def modified(run: Run, call: Call, value: str) -> str:
    """The value after the modifiers of a command, in the order of their precedence."""
    for modifier in (name for name in MODIFIERS if name in call.tags):
        run.spend(len(value) // 1_000)
        value = _modified(value, modifier)
        if len(value) > run.situation.limits.text_length:
            raise LimitReached(f"a text is longer than {run.situation.limits.text_length} characters")
    return value


def _modified(value: str, modifier: str) -> str:
    match modifier:
        case "lower":
            return value.lower()
        case "upper":
            return value.upper()
        case "lowerfirst":
            return value[:1].lower() + value[1:]
        case "upperfirst":
            return value[:1].upper() + value[1:]
        case "quotewildcard":
            return _WILD.sub(r"\\\1", value)
        case "quoteregex":
            return _REGEX.sub(r"\\\1", value)
        case "encodeurl":
            return quote(value.encode("utf-8", "replace"), safe="-._~")
        case _:
            return str(len(value))


def _set(run: Run, call: Call) -> None:
    name, value = call.arguments
    run.assign(variable_name(name), modified(run, call, run.expand(value)))


def check_name(call: Call, scope: Scope) -> None:
    """The first argument is the name of a variable."""
    reference = variable_name(call.arguments[0])
    if reference.shared and "include" not in scope.extensions:
        raise InvalidScript("the namespace 'global' needs the extension 'include': require \"include\"")


def _string(run: Run, call: Call) -> bool:
    values = run.expand_all(call.arguments[0])
    if call.match.type is MatchType.COUNT:
        # RFC 5229 5: empty strings are not counted.
        values = [value for value in values if value]
    return run.matches(call, values, call.arguments[1])


COMMANDS = {
    "set": Word(_set, (Kind.CONSTANT, Kind.TEXT), tags=MODIFIERS, needs=("variables",), check=check_name),
}
TESTS = {"string": Word(_string, (Kind.TEXTS, Kind.TEXTS), tags=tags.MATCH, needs=("variables",))}
