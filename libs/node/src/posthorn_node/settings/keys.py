"""The keys that models know, found by walking them: for suggestions, for the reference's check, for overrides."""

import types
from collections.abc import Iterator
from typing import Annotated, Any, Literal, Union, get_args, get_origin

from posthorn_node.settings.problems import KeyPath
from posthorn_node.settings.values import Section


def known_keys(model: type[Section]) -> list[str]:
    """Every dotted key, tables of free names as `*`: `cluster.node-id`, `server.listener.*.bind`."""
    return list(dict.fromkeys(_walk(model, "")))


def keys_at(model: type[Section], path: KeyPath) -> list[str]:
    """The keys of the table at a path of the model (with the tags of unions as pydantic's errors have them)."""
    kinds: list[Any] = [model]
    for part in path:
        below: list[Any] = []
        for kind in kinds:
            if _is_section(kind):
                below.extend(_kinds(field.annotation) for name, field in _fields(kind) if name == part)
            elif get_origin(kind) is dict:
                below.append(_kinds(get_args(kind)[1]))
        flat = [kind for group in below for kind in group]
        kinds = flat or [kind for kind in kinds if _is_section(kind) and _tag(kind) == part]
    return [name for kind in kinds if _is_section(kind) for name, _ in _fields(kind)]


def _walk(model: type[Section], prefix: str) -> Iterator[str]:
    for name, field in _fields(model):
        for kind in _kinds(field.annotation):
            if _is_section(kind):
                yield from _walk(kind, f"{prefix}{name}.")
            elif get_origin(kind) is dict:
                values = _kinds(get_args(kind)[1])
                sections = [value for value in values if _is_section(value)]
                for section in sections:
                    yield from _walk(section, f"{prefix}{name}.*.")
                if not sections:
                    yield f"{prefix}{name}.*"
            else:
                yield prefix + name


def _fields(model: Any) -> list[tuple[str, Any]]:
    return [(field.alias or name, field) for name, field in model.model_fields.items()]


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, Section)


def _kinds(annotation: Any) -> list[Any]:
    """The members of an annotation without Annotated, Optional and Union around them."""
    origin = get_origin(annotation)
    if origin is Annotated:
        return _kinds(get_args(annotation)[0])
    if origin is Union or origin is types.UnionType:
        return [kind for member in get_args(annotation) if member is not type(None) for kind in _kinds(member)]
    return [annotation]


def _tag(model: Any) -> str:
    """The value of the literal `type` of a member of a union of stores."""
    field = model.model_fields.get("type")
    values = get_args(field.annotation) if field and get_origin(field.annotation) is Literal else ()
    return str(values[0]) if values else ""
