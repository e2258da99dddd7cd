"""Answers to probes and scrapes over ASGI: GET and HEAD of a few paths, each answer whole and never kept by anybody."""

from collections.abc import Awaitable, Callable
from typing import Any, TypeAlias

JSON = b"application/json"
Answer: TypeAlias = tuple[int, bytes, bytes]
"""Status, content type, body."""
UNKNOWN: Answer = (404, JSON, b'{"error":"known are /health/live, /health/ready and /metrics"}')
_METHODS: Answer = (405, JSON, b'{"error":"only GET and HEAD"}')


async def answered(scope: Any, send: Any, answer: Callable[[str], Awaitable[Answer]]) -> None:
    """Answer one request with what `answer` says of its path; anything but HTTP is left alone."""
    if scope["type"] != "http":
        return
    status, kind, body = await answer(scope["path"]) if scope["method"] in ("GET", "HEAD") else _METHODS
    headers = [
        (b"content-type", kind),
        (b"content-length", str(len(body)).encode()),
        (b"cache-control", b"no-store"),
    ]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})
