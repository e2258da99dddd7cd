"""Where outgoing mail ends: Postfix's own smtp-sink, compiled, which takes everything and keeps nothing."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path

from bench.peers.peer import Missing

PROGRAM = Path("/usr/sbin/smtp-sink")
SESSIONS = 4096
"""At once: whoever keeps connections to many sites open for a while must not wait for the sink."""
BACKLOG = 1024
LAST_SECONDS = 180.0
READY_SECONDS = 10.0


def check() -> None:
    """Raises Missing without the program."""
    if not PROGRAM.exists():
        raise Missing(f"no {PROGRAM}: apt-get install postfix")


@contextlib.asynccontextmanager
async def sink(port: int, messages: int, folder: Path | None = None) -> AsyncIterator[Callable[[], Awaitable[None]]]:
    """A sink on every address of this machine until it has taken so many; yields what waits for that.

    With a `folder` it keeps each message in a file there. The waiting raises RuntimeError when they do not all come.
    """
    options = ["-u", "nobody", "-m", str(SESSIONS), "-M", str(messages)]
    options += [] if folder is None else ["-d", f"{folder}/m."]
    process = await asyncio.create_subprocess_exec(
        *(str(PROGRAM), *options, f"0.0.0.0:{port}", str(BACKLOG)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )

    async def emptied() -> None:
        try:
            async with asyncio.timeout(LAST_SECONDS):
                said, _ = await process.communicate()
        except TimeoutError:
            raise RuntimeError(f"not all of {messages} messages reached the sink") from None
        if process.returncode:
            raise RuntimeError(f"smtp-sink: {said.decode(errors='replace')[:500]}")

    try:
        await _listening(port)  # who finds it closed leaves it alone for a while, as one should
        yield emptied
    finally:
        if process.returncode is None:
            process.kill()
        await process.wait()


async def _listening(port: int) -> None:
    async with asyncio.timeout(READY_SECONDS):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.01)
            else:
                writer.close()
                return
