"""What differs between the settings a process runs with and those of its file, and what of it may be taken. Pure.

Keys are dotted, as in the reference; a pattern names a key or a table with all below it, and `*` is any one name.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from posthorn_node.settings.problems import KeyPath, written
from posthorn_node.settings.values import Section

SectionT = TypeVar("SectionT", bound=Section)


@dataclass(frozen=True, slots=True)
class Difference:
    """`taken` are keys that `settings` have as the file says; `kept` those that stay as they were."""

    settings: Any
    taken: tuple[KeyPath, ...] = ()
    kept: tuple[KeyPath, ...] = ()


def compared(old: SectionT, new: SectionT, may: Sequence[str], path: KeyPath = ()) -> Difference:
    """`old` with what `new` says otherwise under the keys that `may` change; `path` is where the two stand."""
    patterns = [tuple(pattern.split(".")) for pattern in may]
    return _section(old, new, patterns, path)


def concerns(key: KeyPath, pattern: str) -> bool:
    """Whether a pattern names this key, or a table that it is in."""
    return _within(key, tuple(pattern.split(".")))


def _section(old: Section, new: Section, patterns: Sequence[KeyPath], path: KeyPath) -> Difference:
    values: dict[str, Any] = {}
    taken: list[KeyPath] = []
    kept: list[KeyPath] = []
    for name, field in type(old).model_fields.items():
        before, after = getattr(old, name), getattr(new, name)
        if before == after:
            continue
        found = _value(before, after, patterns, (*path, field.alias or name))
        values[name] = found.settings
        taken += found.taken
        kept += found.kept
    return Difference(old.model_copy(update=values), tuple(taken), tuple(kept))


def _value(before: Any, after: Any, patterns: Sequence[KeyPath], path: KeyPath) -> Difference:
    if any(_within(path, pattern) for pattern in patterns):
        return Difference(after, tuple(_changed(before, after, path)))
    if isinstance(before, Section) and type(before) is type(after):
        return _section(before, after, patterns, path)
    if isinstance(before, Mapping) and isinstance(after, Mapping):
        return _table(before, after, patterns, path)
    return Difference(before, (), (path,))


def _table(
    before: Mapping[str, Any], after: Mapping[str, Any], patterns: Sequence[KeyPath], path: KeyPath
) -> Difference:
    """A table of free names: whether an entry may come or go is a question for the whole table."""
    values = dict(before)
    taken: list[KeyPath] = []
    kept = [(*path, name) for name in sorted(before.keys() ^ after.keys())]
    for name in before:
        if name in after and before[name] != after[name]:
            found = _value(before[name], after[name], patterns, (*path, name))
            values[name] = found.settings
            taken += found.taken
            kept += found.kept
    return Difference(values, tuple(taken), tuple(kept))


def _changed(before: Any, after: Any, path: KeyPath) -> Iterator[KeyPath]:
    """The single keys below `path` that differ."""
    if isinstance(before, Section) and type(before) is type(after):
        for name, field in type(before).model_fields.items():
            yield from _changed(getattr(before, name), getattr(after, name), (*path, field.alias or name))
    elif isinstance(before, Mapping) and isinstance(after, Mapping):
        for name in sorted(before.keys() | after.keys()):
            yield from _changed(before.get(name), after.get(name), (*path, name))
    elif before != after:
        yield path


def _within(key: KeyPath, pattern: KeyPath) -> bool:
    return len(key) >= len(pattern) and all(part in ("*", own) for own, part in zip(key, pattern, strict=False))


def all_but(table: str, model: type[Section], *others: str) -> tuple[str, ...]:
    """Patterns for every key that a table has by its model, without `others`."""
    keys = [field.alias or name for name, field in model.model_fields.items()]
    return tuple(f"{table}.{key}" for key in keys if key not in others)


def names(keys: Sequence[KeyPath]) -> list[str]:
    """Keys as people write them."""
    return [written(key) for key in keys]
