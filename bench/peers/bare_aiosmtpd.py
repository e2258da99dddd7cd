"""aiosmtpd in a process of its own, with a handler that throws every message away: a dialogue without a mail store.

Run as `python -m bench.peers.bare_aiosmtpd PORT`: a line on its output when it listens, and one for each message.
"""

import asyncio
import contextlib
import importlib.util
import sys
from collections.abc import AsyncIterator
from typing import Any

from bench.peers.peer import Missing, Peer
from posthorn_ctl.embedded.ports import free_ports


@contextlib.asynccontextmanager
async def bare_aiosmtpd() -> AsyncIterator[Peer]:
    """It, running. Raises Missing."""
    if importlib.util.find_spec("aiosmtpd") is None:
        raise Missing("no aiosmtpd: run `make bench`, which installs it")
    port = free_ports(1)[0]
    words = [sys.executable, "-m", "bench.peers.bare_aiosmtpd", str(port)]
    process = await asyncio.create_subprocess_exec(*words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    taken = 0

    async def count() -> None:
        nonlocal taken
        while await process.stdout.readline():  # type: ignore[union-attr]
            taken += 1

    async def stored() -> int:
        return taken

    await process.stdout.readline()
    counting = asyncio.create_task(count())
    try:
        yield Peer("bare aiosmtpd, which stores nothing", "127.0.0.1", port, stored, [process.pid])
    finally:
        process.terminate()
        await process.wait()
        await counting


class Nowhere:
    """Takes each message and forgets it."""

    async def handle_DATA(self, _server: Any, _session: Any, _envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        print("taken", flush=True)
        return "250 OK"


async def _serve(port: int) -> None:
    from aiosmtpd.smtp import SMTP

    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: SMTP(Nowhere(), enable_SMTPUTF8=True), "127.0.0.1", port)
    print("listening", flush=True)
    async with server:
        await server.serve_forever()


if __name__ == "__main__":
    import uvloop

    uvloop.run(_serve(int(sys.argv[1])))
