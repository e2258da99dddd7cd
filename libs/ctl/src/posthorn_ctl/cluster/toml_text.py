"""Writes settings as TOML: plain values, lists and tables, as the settings files of nodes need them."""

import json
import tomllib
from collections.abc import Mapping
from typing import Any

from posthorn_ctl.cluster.errors import ClusterError

Tree = dict[str, Any]


def rendered(tree: Mapping[str, Any]) -> str:
    """The text of a settings file. Raises ValueError for a value that TOML has no word for."""
    return "\n".join(_table(tree, ())).strip() + "\n"


def _table(tree: Mapping[str, Any], path: tuple[str, ...]) -> list[str]:
    own = [f"{_key(key)} = {_value(value)}" for key, value in tree.items() if not isinstance(value, Mapping)]
    lines = []
    if own or not tree:
        lines = ["", f"[{'.'.join(map(_key, path))}]"] if path else []
        lines += own
    for key, value in tree.items():
        if isinstance(value, Mapping):
            lines += _table(value, (*path, key))
    return lines


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else _quoted(key)


def _quoted(text: str) -> str:
    # JSON's escapes are TOML's too, but for DEL, which TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


def _value(value: Any) -> str:
    match value:
        case bool():
            return "true" if value else "false"
        case int() | float():
            return repr(value)
        case str():
            return _quoted(value)
        case list() | tuple():
            return "[" + ", ".join(_inline(item) for item in value) + "]"
        case _:
            return str(value.isoformat()) if hasattr(value, "isoformat") else _refuse(value)


def _inline(value: Any) -> str:
    if isinstance(value, Mapping):
        return "{" + ", ".join(f"{_key(key)} = {_inline(item)}" for key, item in value.items()) + "}"
    return _value(value)


def _refuse(value: Any) -> str:
    raise ValueError(f"{value!r} cannot stand in a settings file")


def override(text: str) -> Tree:
    """Read one `section.key=value`; a value that is no TOML is taken as text. Raises ClusterError."""
    key, equals, value = text.partition("=")
    for candidate in (f"{key} = {value}", f"{key} = {_quoted(value)}") if equals else ():
        try:
            return tomllib.loads(candidate)
        except tomllib.TOMLDecodeError:
            continue
    shown = text if equals else f"{text} (there is no =)"
    raise ClusterError(f'--set {shown}: write section.key=value, such as smtp-out.relay="127.0.0.1:2525"', code=2)


def merged(below: Mapping[str, Any], above: Mapping[str, Any]) -> Tree:
    """Both trees in one; where they meet, `above` wins."""
    result = dict(below)
    for key, value in above.items():
        old = result.get(key)
        both = isinstance(old, Mapping) and isinstance(value, Mapping)
        result[key] = merged(old, value) if isinstance(old, Mapping) and both else value
    return result
