"""A JMAP request: bytes to method calls, within limits, and result references between them (RFC 8620 3.3, 3.7)."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posthorn_jmap.protocol.errors import MethodError, RequestProblem

MAX_DEPTH = 64


@dataclass(frozen=True, slots=True)
class Call:
    """One method call: name, arguments, and the client's id for it."""

    name: str
    arguments: dict[str, Any]
    id: str


@dataclass(frozen=True, slots=True)
class ApiRequest:
    """A whole request."""

    using: frozenset[str]
    calls: tuple[Call, ...]
    created_ids: dict[str, str] | None


def parse(body: bytes, *, capabilities: frozenset[str], max_calls: int) -> ApiRequest:
    """Read and check a request. Raises RequestProblem: notJSON, notRequest, unknownCapability, limit."""
    found = _json(body)
    if not isinstance(found, dict):
        raise _not_request("the body is not an object")
    using, calls = found.get("using"), found.get("methodCalls")
    created = found.get("createdIds")
    if not isinstance(using, list) or not all(isinstance(name, str) for name in using):
        raise _not_request('"using" must be a list of capability names')
    unknown = sorted(set(using) - capabilities)
    if unknown:
        raise RequestProblem("unknownCapability", f"this server does not have {', '.join(unknown)[:500]}")
    if not isinstance(calls, list):
        raise _not_request('"methodCalls" must be a list')
    if len(calls) > max_calls:
        raise RequestProblem("limit", f"at most {max_calls} calls in a request", limit="maxCallsInRequest")
    if created is not None and not _string_map(created):
        raise _not_request('"createdIds" must map ids to ids')
    return ApiRequest(frozenset(using), tuple(_call(call) for call in calls), created)


def _json(body: bytes) -> Any:
    try:
        text = body.decode("utf-8")
        found = json.loads(text, parse_constant=_no_constant, parse_float=_finite, object_pairs_hook=_unique)
        if "\\u" in text:
            _whole_characters(found)
    except (ValueError, RecursionError) as error:
        raise RequestProblem("notJSON", f"the body is not I-JSON: {str(error)[:200]}") from error
    if _too_deep(found):
        raise RequestProblem("notJSON", f"nested deeper than {MAX_DEPTH} levels")
    return found


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _finite(text: str) -> float:
    number = float(text)
    if math.isinf(number):
        raise ValueError("a number is too large (RFC 7493 2.2)")
    return number


def _whole_characters(found: Any) -> None:
    """Raise ValueError for escapes that are half of a surrogate pair (RFC 7493 2.1)."""
    json.dumps(found, ensure_ascii=False).encode()


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a member name occurs twice (RFC 7493 2.3)")
    return found


def _too_deep(found: Any) -> bool:
    level = [found]
    for _ in range(MAX_DEPTH):
        level = [inner for value in level for inner in _inner(value)]
        if not level:
            return False
    return True


def _inner(value: Any) -> Sequence[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else ()


def _string_map(value: Any) -> bool:
    return isinstance(value, dict) and all(isinstance(v, str) for v in value.values())


def _call(call: Any) -> Call:
    match call:
        case [str(name), dict(arguments), str(call_id)]:
            return Call(name, arguments, call_id)
    raise _not_request("a method call is a list of name, arguments and id")


def _not_request(detail: str) -> RequestProblem:
    return RequestProblem("notRequest", detail)


def resolve(arguments: Mapping[str, Any], responses: Sequence[tuple[str, Mapping[str, Any], str]]) -> dict[str, Any]:
    """The arguments with their result references (`#name`) replaced from earlier responses.

    Raises MethodError: invalidArguments where a name is given both ways, invalidResultReference.
    """
    found: dict[str, Any] = {}
    for key, value in arguments.items():
        if not key.startswith("#"):
            found[key] = value
            continue
        if key[1:] in arguments:
            raise MethodError("invalidArguments", f"{key[1:]} is given both as a value and as a reference")
        found[key[1:]] = _refer(value, responses)
    return found


def _refer(reference: Any, responses: Sequence[tuple[str, Mapping[str, Any], str]]) -> Any:
    match reference:
        case {"resultOf": str(call_id), "name": str(name), "path": str(path)}:
            pass
        case _:
            raise MethodError("invalidResultReference", "a reference has resultOf, name and path")
    for response_name, response, response_id in responses:
        if response_id == call_id:
            if response_name != name:
                raise MethodError("invalidResultReference", f"call {call_id} answered {response_name}, not {name}")
            return pointer(response, path)
    raise MethodError("invalidResultReference", f"no earlier call has the id {call_id[:100]}")


def pointer(value: Any, path: str) -> Any:
    """Follow a JSON pointer (RFC 6901) with JMAP's `*` for each item of a list. Raises MethodError."""
    if path and not path.startswith("/"):
        raise MethodError("invalidResultReference", "a path starts with /")
    steps = [step.replace("~1", "/").replace("~0", "~") for step in path.split("/")[1:]]
    return _follow(value, steps)


def _follow(value: Any, steps: list[str]) -> Any:
    for position, step in enumerate(steps):
        if step == "*" and isinstance(value, list):
            found: list[Any] = []
            for item in value:
                inner = _follow(item, steps[position + 1 :])
                found.extend(inner) if isinstance(inner, list) else found.append(inner)
            return found
        if isinstance(value, dict) and step in value:
            value = value[step]
        elif isinstance(value, list) and step.isascii() and step.isdigit() and int(step) < len(value):
            value = value[int(step)]
        else:
            raise MethodError("invalidResultReference", f"nothing at {step[:100]!r}")
    return value
