"""A service as a process of its own in a test: started with a settings file, watched by its log, ended or killed."""

import asyncio
import contextlib
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

END_SECONDS = 90.0
LONGEST_LINE = 1 << 22
"""Octets of a log line, with its trace."""


class ServiceProcess:
    """A running process. `lines` are the log lines so far, which must be JSON; what else it says is in `said`."""

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self._process = process
        self.lines: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._changed = asyncio.Condition()
        self._ended = False
        self._reader = asyncio.create_task(self._read())

    async def _read(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            async with self._changed:
                try:
                    self.lines.append(json.loads(line))
                except ValueError:
                    self.said.append(line.decode("utf-8", "replace").rstrip())
                self._changed.notify_all()
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    @property
    def pid(self) -> int:
        """Of the process."""
        return self._process.pid

    async def logged(self, test: Callable[[dict[str, Any]], bool], seconds: float = 90.0) -> dict[str, Any]:
        """The first log line that passes, waited for. Raises AssertionError with the log when none comes."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds), self._changed:
                await self._changed.wait_for(lambda: any(map(test, self.lines)) or self._ended)
        found = next(filter(test, self.lines), None)
        assert found is not None, f"not logged:\n{self.story()}"
        return found

    async def listening(self, listener: str | None = None) -> dict[str, Any]:
        """What the process logged on opening a listener of the settings (None: the first), once it is ready."""
        await self.logged(lambda line: line["event"] == "ready")
        return await self.logged(
            lambda line: line["event"] == "listening" and listener in (None, line.get("listener")),
        )

    def story(self) -> str:
        """All it logged and said, for the message of a failed test."""
        return "\n".join([*map(str, self.lines), *self.said])

    async def end(self) -> int:
        """SIGTERM (unless it has ended), and the exit code. Raises TimeoutError when it does not leave."""
        if self._process.returncode is None:
            self._process.send_signal(signal.SIGTERM)
        code = await asyncio.wait_for(self._process.wait(), END_SECONDS)
        await self._reader
        return code

    def signal(self, number: signal.Signals) -> None:
        """Send a signal, such as SIGSTOP."""
        self._process.send_signal(number)

    async def kill(self) -> None:
        """SIGKILL, and wait until it is gone; nothing when it has ended."""
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        await self._reader


async def start_service(module: str, config: Path) -> ServiceProcess:
    """Start `python -m module --config config`; the caller ends or kills it. It dies with this process."""
    return ServiceProcess(
        await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            module,
            "--config",
            str(config),
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.STDOUT,
            limit=LONGEST_LINE,
            # No balancer looks at it, so nobody needs time to notice that it leaves.
            env={"POSTHORN__SERVER__DRAIN_DELAY": "0s", **os.environ, "POSTHORN_PARENT": str(os.getpid())},
        )
    )


@contextlib.asynccontextmanager
async def running_service(module: str, config: Path) -> AsyncIterator[ServiceProcess]:
    """A service's process while the block runs; killed when it has not ended by then."""
    process = await start_service(module, config)
    try:
        yield process
    finally:
        await process.kill()
