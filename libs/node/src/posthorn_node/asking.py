"""One small GET of a process's own HTTP endpoint, without a client library: for who watches processes."""

import asyncio

MAX_ANSWER = 16 << 20
"""Octets; more is cut off."""


async def get(host: str, port: int, path: str, limit: float = 3.0) -> tuple[int, bytes]:
    """Status and body; status 0 for an answer that is none. Raises OSError, ValueError; and TimeoutError."""
    async with asyncio.timeout(limit):
        reader, writer = await asyncio.open_connection(host, port)
        try:
            writer.write(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            answer = bytearray()
            while len(answer) < MAX_ANSWER and (piece := await reader.read(65536)):
                answer += piece
        finally:
            writer.close()
    head, _, body = bytes(answer).partition(b"\r\n\r\n")
    return int(head.split(b" ", 2)[1]) if b" " in head else 0, body
