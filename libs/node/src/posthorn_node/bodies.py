"""Request bodies within a limit, counted as they arrive."""

from collections.abc import AsyncIterator

MAX_DISCARDED = 16 * 1024 * 1024
"""Bytes read on beyond the limit: a client that is still sending when the connection closes never sees the answer."""


async def read_bounded(stream: AsyncIterator[bytes], limit: int) -> bytes | None:
    """The whole body, or None when it is larger than `limit` bytes; what is beyond the limit is thrown away."""
    parts: list[bytes] = []
    size = 0
    async for part in stream:
        size += len(part)
        if size <= limit:
            parts.append(part)
        elif size > limit + MAX_DISCARDED:
            break
        else:
            parts.clear()
    return b"".join(parts) if size <= limit else None
