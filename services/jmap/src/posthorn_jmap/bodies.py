"""Reads request bodies within a limit, counted as they arrive."""

from starlette.requests import Request

from posthorn_jmap.protocol.errors import RequestProblem


async def read_body(http: Request, limit: int, name: str) -> bytes:
    """The request body. Raises RequestProblem, naming the limit, as soon as it is larger than `limit` bytes."""
    parts: list[bytes] = []
    size = 0
    async for part in http.stream():
        size += len(part)
        if size > limit:
            raise RequestProblem("limit", f"the body is larger than {limit} bytes", 413, limit=name)
        parts.append(part)
    return b"".join(parts)
