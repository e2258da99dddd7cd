"""A small pool of worker processes that read documents, for asyncio.

A worker that goes beyond a limit or dies is killed and replaced; the document it died of is Unreadable. Documents wait
for a free worker, so whoever calls bounds how many are in memory.
"""

import asyncio
import json
import sys
from asyncio.subprocess import DEVNULL, PIPE, Process
from contextlib import suppress
from dataclasses import asdict, dataclass
from types import TracebackType

from posthorn_model.errors import Unavailable
from posthorn_text_extract.errors import Unreadable
from posthorn_text_extract.frames import ANSWER, READY, Status, request
from posthorn_text_extract.kinds import knows
from posthorn_text_extract.limits import DEFAULT, Limits

START_SECONDS = 60.0
_ENDING_SECONDS = 5.0
DOCUMENTS_PER_WORKER = 500
"""After so many a worker is replaced: what leaks goes with it."""


class Extractors:
    """Worker processes, started when they are first needed. Use as an async context manager, or call `aclose`."""

    def __init__(self, limits: Limits = DEFAULT, *, workers: int = 1) -> None:
        self._limits = limits
        self._slots = asyncio.Semaphore(workers)
        self._idle: list[_Worker] = []
        self._closed = False

    async def __aenter__(self) -> "Extractors":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def text(self, content_type: str, filename: str | None, data: bytes) -> str | None:
        """Return the readable text of a document, None when it is of no kind that is read.

        `content_type` is a media type or a whole Content-Type value, `data` the decoded document. Raises Unreadable
        when the document is broken, locked or takes more than the limits (final: index without it), Unavailable when
        no worker can be started (try again later).
        """
        if not knows(content_type, filename):
            return None
        if len(data) > self._limits.input_octets:
            raise Unreadable("the document is too large", size=len(data))
        async with self._slots:
            while True:
                if self._closed:
                    raise Unavailable("text extraction is closed")
                worker = self._idle.pop() if self._idle else await _start(self._limits)
                try:
                    return await self._read(worker, content_type, filename, data)
                except _Died as died:
                    # A worker with a past may have died of it (or was ended from outside while it waited): the
                    # document gets a fresh one, whose death is the document's own work.
                    if worker.documents == 1:
                        raise Unreadable("the document ended its reader", ended=died.code) from died

    async def _read(self, worker: "_Worker", content_type: str, filename: str | None, data: bytes) -> str | None:
        healthy = False
        try:
            async with asyncio.timeout(self._limits.wall_seconds):
                status, text = await worker.ask(content_type, filename, data, 4 * self._limits.characters + 65_536)
            healthy = worker.documents < DOCUMENTS_PER_WORKER and not self._closed
        except TimeoutError:
            raise Unreadable("the document took too long to read") from None
        finally:
            # Also when cancelled: a worker in the middle of a document is of no use to the next.
            if healthy:
                self._idle.append(worker)
            else:
                await worker.end()
        if status is Status.UNREADABLE:
            raise Unreadable(text)
        return text if status is Status.TEXT else None

    async def aclose(self) -> None:
        """End the workers. Documents that are being read are read to their end."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()


class _Died(Exception):
    def __init__(self, code: int | None) -> None:
        super().__init__(code)
        self.code = code


@dataclass(slots=True)
class _Worker:
    process: Process
    documents: int = 0

    async def ask(self, content_type: str, filename: str | None, data: bytes, most: int) -> tuple[Status, str]:
        """One document. Raises _Died when the process ends before its answer, or answers anything else."""
        writer, reader = self.process.stdin, self.process.stdout
        assert writer is not None
        assert reader is not None
        self.documents += 1
        try:
            writer.write(request(content_type, filename, len(data)))
            writer.write(data)
            await writer.drain()
            code, length = ANSWER.unpack(await reader.readexactly(ANSWER.size))
            status = Status(code)
            if length > most:
                raise ValueError(length)
            return status, (await reader.readexactly(length)).decode("utf-8", "replace")
        except (OSError, EOFError, ValueError):
            # It is ending by itself: killing it now would take its exit status from whoever waits for it.
            with suppress(TimeoutError):
                async with asyncio.timeout(_ENDING_SECONDS):
                    await self.process.wait()
            raise _Died(self.process.returncode) from None

    async def end(self) -> None:
        """Kill the process, whatever it does, and wait until it is gone."""
        if self.process.returncode is None:
            with suppress(ProcessLookupError):
                self.process.kill()
        if self.process.stdin is not None:
            self.process.stdin.close()
        await self.process.wait()


async def _start(limits: Limits) -> _Worker:
    """A worker that has taken its limits on itself. Raises Unavailable."""
    command = (sys.executable, "-m", "posthorn_text_extract.worker", json.dumps(asdict(limits)))
    environment = {"PYTHONPATH": ":".join(filter(None, sys.path)), "PYTHONDONTWRITEBYTECODE": "1", "LC_ALL": "C.UTF-8"}
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdin=PIPE, stdout=PIPE, stderr=DEVNULL, env=environment, cwd="/"
        )
    except OSError as error:
        raise Unavailable("no process for text extraction can be started") from error
    worker = _Worker(process)
    ready = b""
    try:
        assert process.stdout is not None
        async with asyncio.timeout(START_SECONDS):
            ready = await process.stdout.read(1)
    except TimeoutError:
        pass
    finally:
        if ready != READY:
            await worker.end()
    if ready != READY:
        raise Unavailable("a process for text extraction does not start", ended=process.returncode)
    return worker
