"""Reads a settings file: TOML, `%{env:NAME}%` in strings, overrides from the environment, the line of every key."""

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from posthorn_node.settings.problems import KeyPath, Problem, SettingsError, written
from posthorn_node.settings.toml_lines import lines_of

MAX_FILE_BYTES = 1 << 20
OVERRIDE_PREFIX = "POSTHORN__"
_ENV = re.compile(r"%\{env:([A-Za-z_][A-Za-z0-9_]*)\}%")
_SYNTAX_LINE = re.compile(r"^(.*) \(at line (\d+), column (\d+)\)$")


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was written: a file and its line, or an environment variable (line 0)."""

    file: str
    line: int


@dataclass(slots=True)
class SettingsFile:
    """A file as read, not yet judged. `problems` holds what reading found; its repr shows no values."""

    path: Path
    data: dict[str, Any] = field(repr=False)
    origins: dict[KeyPath, Origin] = field(repr=False)
    problems: list[Problem] = field(default_factory=list)

    def origin(self, path: KeyPath) -> Origin:
        """Where a path, or the nearest table around it, was written."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.origins:
                return self.origins[path[:length]]
        return Origin(str(self.path), 0)

    def problem(self, path: KeyPath, reason: str, suggestion: str = "") -> Problem:
        origin = self.origin(path)
        return Problem(origin.file, origin.line, written(path), reason, suggestion)


def load(path: Path, environ: Mapping[str, str]) -> SettingsFile:
    """Read the file and apply `environ` to it.

    Raises SettingsError when the file cannot be read or is no TOML; an unset variable becomes a problem of the
    result, so that it is told together with those that `validate` finds.
    """
    try:
        with path.open("rb") as stream:
            raw = stream.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise SettingsError([Problem(str(path), 0, "", f"cannot be read: {error.strerror}")]) from None
    if len(raw) > MAX_FILE_BYTES:
        raise SettingsError([Problem(str(path), 0, "", f"is larger than {MAX_FILE_BYTES} bytes")])
    return parse(raw, path, environ)


def parse(raw: bytes, path: Path, environ: Mapping[str, str]) -> SettingsFile:
    """The same for text at hand; `path` only names it. Raises SettingsError."""
    try:
        text = raw.decode("utf-8-sig").replace("\r\n", "\n")
        data = tomllib.loads(text)
        lines = lines_of(text)
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise SettingsError([Problem(str(path), line, "", "is not UTF-8")]) from None
    except tomllib.TOMLDecodeError as error:
        match = _SYNTAX_LINE.match(str(error))
        reason, line = (match[1], int(match[2])) if match else (str(error), 0)
        raise SettingsError([Problem(str(path), line, "", f"is not TOML: {reason}")]) from None
    except RecursionError:
        raise SettingsError([Problem(str(path), 0, "", "is nested too deeply")]) from None
    origins = {key: Origin(str(path), line) for key, line in lines.items()}
    file = SettingsFile(path, data, origins)
    _substitute(file, file.data, (), environ)
    _override(file, environ)
    return file


def _substitute(file: SettingsFile, node: Any, path: KeyPath, environ: Mapping[str, str]) -> Any:
    """Replace `%{env:NAME}%` in every string below `node`, in place; returns the value for a leaf."""
    if isinstance(node, dict):
        for key, value in node.items():
            node[key] = _substitute(file, value, (*path, key), environ)
    elif isinstance(node, list):
        for index, value in enumerate(node):
            node[index] = _substitute(file, value, (*path, index), environ)
    elif isinstance(node, str):
        for name in _ENV.findall(node):
            if name not in environ:
                file.problems.append(file.problem(path, f"the environment variable {name} is not set"))
        return _ENV.sub(lambda match: environ.get(match[1], match[0]), node)
    return node


def _override(file: SettingsFile, environ: Mapping[str, str]) -> None:
    """Apply POSTHORN__TABLE__KEY=value; names are matched without regard to case, `_` stands for `-`."""
    for name in sorted(environ):
        if not name.startswith(OVERRIDE_PREFIX):
            continue
        origin = Origin(f"environment variable {name}", 0)
        parts = [part.lower().replace("_", "-") for part in name[len(OVERRIDE_PREFIX) :].split("__")]
        if not all(parts):
            file.problems.append(Problem(origin.file, 0, "", "names no setting: write POSTHORN__TABLE__KEY"))
            continue
        table, path = file.data, cast(KeyPath, ())
        for part in parts[:-1]:
            key = _present(table, part)
            table, path = table.setdefault(key, {}), (*path, key)
            file.origins.setdefault(path, origin)
            if not isinstance(table, dict):
                file.problems.append(Problem(origin.file, 0, written(path), "is a value, not a table"))
                break
        else:
            key = _present(table, parts[-1])
            table[key] = _override_value(environ[name])
            for old in [known for known in file.origins if known[: len(path) + 1] == (*path, key)]:
                del file.origins[old]
            file.origins[(*path, key)] = origin


def _present(table: dict[str, Any], part: str) -> str:
    """The key of the table that a lower-case, dashed name means; the name itself when there is none."""
    return next((key for key in table if key.lower().replace("_", "-") == part), part)


def _override_value(text: str) -> Any:
    """Lists, tables and quoted strings are TOML; anything else stays text, which settings read as what they need.

    So a password of digits stays as it was written.
    """
    if text[:1] in ("[", "{", '"', "'"):
        try:
            found = tomllib.loads(f"value = {text}")
        except tomllib.TOMLDecodeError:
            return text
        if set(found) == {"value"}:
            return found["value"]
    return text
