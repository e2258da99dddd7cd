"""Flags of the message that is filed (RFC 5232)."""

import re
from collections.abc import Iterable, Sequence

from posthorn_sieve.errors import InvalidScript
from posthorn_sieve.program import Call, Kind, Scope, Word
from posthorn_sieve.run import Run
from posthorn_sieve.texts import Reference, Text, variable_name
from posthorn_sieve.words import tags

_SYSTEM = {name.lower(): name for name in ("\\Answered", "\\Flagged", "\\Deleted", "\\Seen", "\\Draft")}
_KEYWORD = re.compile(r'[^\x00-\x20\x7f-\U0010ffff(){%*"\\\]]{1,100}\Z')
MAX_FLAGS = 64


def listed(texts: Iterable[str]) -> tuple[str, ...]:
    """Return the flags of lists, each once; what is no flag is left out (RFC 5232 2)."""
    found: dict[str, str] = {}
    for name in " ".join(texts).split():
        flag = _SYSTEM.get(name.lower()) if name.startswith("\\") else name if _KEYWORD.match(name) else None
        if flag is not None and len(found) < MAX_FLAGS:
            found.setdefault(flag.lower(), flag)
    return tuple(found.values())


def flags_of(run: Run, call: Call) -> tuple[str, ...]:
    """The flags that an action files with: its own, or those set before it."""
    given: Sequence[Text] | None = call.tags.get("flags")
    return run.flags if given is None else listed(run.expand_all(given))


def _check(call: Call, scope: Scope) -> None:
    names = call.arguments[0]
    if names is None:
        return
    if "variables" not in scope.extensions:
        raise InvalidScript(f"a variable for '{call.name}' needs the extension 'variables': require \"variables\"")
    for name in (names,) if isinstance(names, str) else names:
        variable_name(name)


def _read(run: Run, name: str | None) -> tuple[str, ...]:
    if name is None:
        return run.flags
    reference = variable_name(name)
    return listed([run.variables(reference).get(reference.name, "")])


def _write(run: Run, name: str | None, flags: tuple[str, ...]) -> None:
    if name is None:
        run.flags = flags
    else:
        reference: Reference = variable_name(name)
        run.assign(reference, " ".join(flags))


def _set(run: Run, call: Call) -> None:
    _write(run, call.arguments[0], listed(run.expand_all(call.arguments[1])))


def _add(run: Run, call: Call) -> None:
    name = call.arguments[0]
    _write(run, name, listed((*_read(run, name), *run.expand_all(call.arguments[1]))))


def _remove(run: Run, call: Call) -> None:
    name = call.arguments[0]
    gone = {flag.lower() for flag in listed(run.expand_all(call.arguments[1]))}
    _write(run, name, tuple(flag for flag in _read(run, name) if flag.lower() not in gone))


def _has(run: Run, call: Call) -> bool:
    names, keys = call.arguments
    flags = run.flags if names is None else tuple(flag for name in names for flag in _read(run, name))
    # A key may be a list of flags too; any of them will do (RFC 5232 4).
    wanted = [flag for key in run.expand_all(keys) for flag in (key.split() or [""])]
    return run.matches(call, flags, wanted if call.match.type.value not in ("count", "value") else keys)


_CHANGE = (Kind.CONSTANT, Kind.TEXTS)
COMMANDS = {
    "setflag": Word(_set, _CHANGE, needs=("imap4flags",), optional=1, check=_check),
    "addflag": Word(_add, _CHANGE, needs=("imap4flags",), optional=1, check=_check),
    "removeflag": Word(_remove, _CHANGE, needs=("imap4flags",), optional=1, check=_check),
}
TESTS = {
    "hasflag": Word(
        _has, (Kind.CONSTANTS, Kind.TEXTS), tags=tags.MATCH, needs=("imap4flags",), optional=1, check=_check
    )
}
