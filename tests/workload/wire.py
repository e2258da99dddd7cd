"""One connection of the random workload: commands out, answers in, untagged lines told at once. It judges nothing."""

import asyncio
import re
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Self

SECONDS = 60.0
"""For one answer."""
STORY = 60
"""Lines that are kept for the message of a failed run."""
_LITERAL = re.compile(rb"\{(\d+)\}\r\n$")
_CODE = re.compile(rb"\[([A-Z-]+)(?: ([^\]]*))?\]")


class Lost(Exception):
    """The connection is over; what the command at hand did is not known."""


@dataclass(frozen=True, slots=True)
class Reply:
    """A tagged answer."""

    condition: bytes
    text: bytes

    @property
    def ok(self) -> bool:
        return self.condition == b"OK"

    def code(self, name: bytes) -> bytes | None:
        """What stands behind a response code, None without it."""
        found = _CODE.search(self.text)
        return (found[2] or b"") if found and found[1] == name else None


class Wire:
    """Use `open`; `heard` is given each untagged line, whole, with its literals in it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer
        self._count = 0
        self._said: deque[str] = deque(maxlen=STORY)
        self.heard: Callable[[bytes, bytes], None] = lambda verb, line: None
        """Called with the command at hand and the line."""

    @classmethod
    async def open(cls, address: tuple[str, int], login: tuple[str, str]) -> Self:
        """Connected and logged in, knowing mod-sequences. Raises Lost."""
        try:
            made = cls(*await asyncio.wait_for(asyncio.open_connection(*address), SECONDS))
        except (OSError, TimeoutError) as error:
            raise Lost(str(error)) from error
        await made._line()
        reply = await made.ask(b"LOGIN %b %b" % (login[0].encode(), login[1].encode()))
        if not reply.ok:
            raise Lost(reply.text.decode())
        return made

    async def ask(self, command: bytes, literal: bytes | None = None) -> Reply:
        """Send a command, with a literal at its end, and wait for its answer. Raises Lost."""
        tag, verb = self._tag(), command.upper()
        data = tag + b" " + command
        data += b" {%d+}\r\n%b\r\n" % (len(literal), literal) if literal is not None else b"\r\n"
        self._send(data)
        return await self._answer(tag, verb)

    async def idle(self, seconds: float) -> Reply:
        """IDLE for a while; DONE goes out in two pieces. Raises Lost."""
        tag = self._tag()
        self._send(tag + b" IDLE\r\n")
        try:
            async with asyncio.timeout(seconds):
                while True:
                    line = await self._line()
                    if line.startswith(b"* "):
                        self.heard(b"IDLE", line[2:])
        except TimeoutError:
            pass
        self._send(b"DO")
        await asyncio.sleep(0)
        self._send(b"NE\r\n")
        return await self._answer(tag, b"IDLE")

    @property
    def port(self) -> int:
        """That it leads to."""
        found: int = self._writer.get_extra_info("peername")[1]
        return found

    def close(self) -> None:
        """Hang up, in the middle of whatever it is."""
        self._writer.transport.abort()

    def _tag(self) -> bytes:
        self._count += 1
        return b"t%d" % self._count

    def story(self) -> str:
        """The last lines of the conversation."""
        return "\n".join(self._said)

    def _send(self, data: bytes) -> None:
        self._said.append(f"C: {data[:200]!r}")
        self._writer.write(data)

    async def _answer(self, tag: bytes, verb: bytes) -> Reply:
        try:
            async with asyncio.timeout(SECONDS):
                while True:
                    line = await self._line()
                    if line.startswith(b"* "):
                        self.heard(verb, line[2:])
                    elif line.startswith(tag + b" "):
                        condition, _, text = line[len(tag) + 1 :].partition(b" ")
                        return Reply(condition, text)
        except TimeoutError:
            raise AssertionError(f"no answer to {verb!r} within {SECONDS:.0f} s") from None

    async def _line(self) -> bytes:
        """Pieces are only lost where the connection is: a wait that is cut off leaves what came in the reader."""
        try:
            line = await self._reader.readuntil(b"\r\n")
            while found := _LITERAL.search(line):
                line += await self._reader.readexactly(int(found[1]))
                line += await self._reader.readuntil(b"\r\n")
        except (OSError, asyncio.IncompleteReadError) as error:
            raise Lost(str(error)) from error
        self._said.append(f"S: {line[:200]!r}")
        return line[:-2]
