"""Shows settings to people, one dotted key a line, secrets as stars."""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import BaseModel, SecretBytes, SecretStr

from posthorn_node.settings.problems import KeyPath, written

STARS = "********"


def shown(settings: BaseModel) -> str:
    """Every setting as `key = value` in TOML's notation; a set secret is stars, an empty one is ""."""
    return "\n".join(f"{written(path)} = {text}" for path, text in _lines(settings, ()))


def _lines(value: Any, path: KeyPath) -> Iterator[tuple[KeyPath, str]]:
    if isinstance(value, BaseModel):
        for name, field in type(value).model_fields.items():
            yield from _lines(getattr(value, name), (*path, field.alias or name))
        for name, extra in (value.model_extra or {}).items():
            yield from _lines(extra, (*path, name))
    elif isinstance(value, Mapping):
        for key, below in value.items():
            yield from _lines(below, (*path, str(key)))
    elif value is not None:
        yield path, _text(value)


def _text(value: Any) -> str:
    if isinstance(value, SecretStr | SecretBytes):
        return f'"{STARS}"' if value.get_secret_value() else '""'
    if isinstance(value, list | tuple):
        return "[" + ", ".join(_text(item) for item in value) + "]"
    if isinstance(value, Path):
        return json.dumps(str(value), ensure_ascii=False)
    return json.dumps(value, ensure_ascii=False, default=str)
