"""A request of the management API that has more to it than a path: what was asked, bounded and read once."""

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from starlette.requests import Request

MAX_BODY = 65_536


class Refused(Exception):
    """Their mistake: the status and what to do instead, for their eyes."""

    def __init__(self, status: int, detail: str) -> None:
        self.status = status
        self.detail = detail
        super().__init__(detail)


@dataclass(frozen=True, slots=True)
class Call:
    """Method, the path's parts below the family's own, the query, and the JSON object of the body ({}: none)."""

    method: str
    path: tuple[str, ...]
    query: Mapping[str, str] = field(default_factory=dict)
    body: Mapping[str, Any] = field(default_factory=dict)


Family: TypeAlias = Callable[[Call], Awaitable[dict[str, Any]]]
"""Answers everything below one path."""


async def read_call(http: Request, path: Sequence[str]) -> Call:
    """Read a request to the end. Raises Refused."""
    method = "GET" if http.method == "HEAD" else http.method
    if method not in ("GET", "POST", "DELETE"):
        raise Refused(405, "only GET, POST and DELETE are answered here")
    return Call(method, tuple(path), dict(http.query_params), {} if method == "GET" else await _body(http))


async def _body(http: Request) -> Mapping[str, Any]:
    content = b""
    async for chunk in http.stream():
        content += chunk
        if len(content) > MAX_BODY:
            raise Refused(413, f"a body has at most {MAX_BODY} bytes")
    if not content:
        return {}
    if http.headers.get("content-type", "").partition(";")[0].strip().lower() != "application/json":
        # A page in a browser on this machine cannot send that type to us without asking first (CORS).
        raise Refused(415, "the body is application/json")
    try:
        found = json.loads(content)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise Refused(400, "the body is no JSON object")
    return found
