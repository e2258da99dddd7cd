"""A real SMTP server for tests of sending: takes mail, and can be told to delay, refuse, drop or babble.

It remembers what it acknowledged, which is what a ledger of deliveries is compared with. Not a product: it judges
nothing and keeps everything in memory.
"""

import asyncio
import ssl
from collections import defaultdict, deque
from collections.abc import Iterable
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

DROP = "DROP"
"""Told as an answer: close the connection instead of answering."""
GREETING, END = "GREETING", "END"
"""Two more names, beside the verbs, under which answers can be told: the greeting, and the reply to the content."""
EXTENSIONS = ("PIPELINING", "SIZE 52428800", "8BITMIME", "SMTPUTF8", "DSN", "ENHANCEDSTATUSCODES")
_ANSWERS = {
    GREETING: "220 sink ESMTP",
    "HELO": "250 sink",
    "MAIL": "250 2.1.0 ok",
    "RCPT": "250 2.1.5 ok",
    "DATA": "354 go ahead",
    END: "250 2.0.0 taken",
    "RSET": "250 2.0.0 ok",
    "NOOP": "250 2.0.0 ok",
    "QUIT": "221 2.0.0 bye",
    "AUTH": "235 2.7.0 ok",
    "STARTTLS": "220 2.0.0 go ahead",
}


@dataclass(frozen=True, slots=True)
class TakenMail:
    """One message that was answered with 250, or whose answer was dropped (`acknowledged` is False then)."""

    sender: str
    recipients: tuple[str, ...]
    content: bytes
    """Unstuffed."""
    mail: str
    """The whole MAIL command."""
    rcpts: tuple[str, ...]
    """The whole RCPT commands."""
    tls: bool
    login: str
    connection: int
    """Number of the connection it came on, from 1."""
    acknowledged: bool = True
    client: str = ""
    """The address it came from."""
    hello: str = ""
    """How the client introduced itself: the whole command."""


@dataclass(slots=True)
class Gate:
    """Holds an answer back until `open` is set; `reached` is set when the answer is due."""

    reached: asyncio.Event = field(default_factory=asyncio.Event)
    open: asyncio.Event = field(default_factory=asyncio.Event)


class Sink:
    """Use as `async with Sink() as sink`; then `sink.address` is "127.0.0.1:port"."""

    def __init__(
        self,
        *,
        host: str = "127.0.0.1",
        tls: ssl.SSLContext | None = None,
        extensions: Iterable[str] = EXTENSIONS,
        lmtp: bool = False,
        implicit: bool = False,
    ) -> None:
        """`lmtp`: a reply for each recipient follows the content; `implicit`: TLS from the first octet."""
        self.mails: list[TakenMail] = []
        self.commands: list[str] = []
        self.connections = 0
        self.open_connections = 0
        self.most_connections = 0
        self.port = 0
        self.host = host
        self.extensions = list(extensions)
        self.tls = tls
        self.lmtp = lmtp
        self.implicit = implicit
        self._once: defaultdict[str, deque[str]] = defaultdict(deque)
        self._always: dict[str, str] = {}
        self._gates: defaultdict[str, deque[Gate]] = defaultdict(deque)
        self._changed = asyncio.Condition()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    @property
    def address(self) -> str:
        return f"{self.host}:{self.port}"

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Listen on the port of the former life, or a free one."""
        tls = self.tls if self.implicit else None
        self._server = await asyncio.start_server(self._serve, self.host, self.port, ssl=tls)
        self.port = self._server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        """Stop listening and cut all connections."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def once(self, name: str, *answers: str) -> None:
        """Give these answers, one each, to the next commands of that name."""
        self._once[name].extend(answers)

    def always(self, name: str, answer: str) -> None:
        """Give this answer from now on."""
        self._always[name] = answer

    def hold(self, name: str) -> Gate:
        """Hold the next answer of that name back."""
        gate = Gate()
        self._gates[name].append(gate)
        return gate

    async def wait(self, count: int, timeout: float = 90.0) -> list[TakenMail]:
        """Wait until `count` messages have been taken; raises TimeoutError."""
        async with asyncio.timeout(timeout), self._changed:
            await self._changed.wait_for(lambda: len(self.mails) >= count)
        return self.mails

    def told(self, name: str) -> bool:
        """Whether an answer other than the usual one is due."""
        return bool(self._once[name]) or name in self._always

    async def answer(self, name: str) -> str:
        """The answer due for a command, after its gate has opened."""
        if self._gates[name]:
            gate = self._gates[name].popleft()
            gate.reached.set()
            await gate.open.wait()
        if self._once[name]:
            return self._once[name].popleft()
        return self._always.get(name) or _ANSWERS.get(name, "500 5.5.1 what?")

    async def take(self, mail: TakenMail) -> None:
        """Remember a message."""
        async with self._changed:
            self.mails.append(mail)
            self._changed.notify_all()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        self.connections += 1
        self.open_connections += 1
        self.most_connections = max(self.most_connections, self.open_connections)
        try:
            await _Visit(self, reader, writer, self.connections).run()
        except (ConnectionError, asyncio.IncompleteReadError, ssl.SSLError, asyncio.CancelledError):
            pass
        finally:
            self.open_connections -= 1
            self._tasks.discard(task)
            writer.transport.abort()


class _Visit:
    """One connection."""

    def __init__(self, sink: Sink, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, number: int) -> None:
        self._sink = sink
        self._reader = reader
        self._writer = writer
        self._number = number
        self._tls = sink.implicit
        self._client = str(writer.get_extra_info("peername")[0])
        self._hello_line = ""
        self._login = ""
        self._mail = ""
        self._rcpts: list[str] = []

    async def run(self) -> None:
        if not await self._say(GREETING):
            return
        while line := await self._reader.readline():
            text = line.decode("utf-8", "replace").rstrip("\r\n")
            self._sink.commands.append(text)
            verb = text.partition(" ")[0].upper()
            if not await self._act(verb, text):
                return

    async def _act(self, verb: str, text: str) -> bool:
        """Whether the connection goes on."""
        if verb in ("EHLO", "HELO", "LHLO"):
            self._hello_line = text
        if verb == ("LHLO" if self._sink.lmtp else "EHLO") and not self._sink.told(verb):
            return await self._write(self._hello())
        if verb == "DATA" and not self._rcpts and not self._sink.told(verb):
            return await self._write("554 5.5.1 no valid recipients")
        if verb == "BDAT" and not self._sink.told(verb):
            return await self._chunk(text)
        answer = await self._sink.answer(verb)
        if not await self._write(answer):
            return False
        good = answer[0] in "23"
        if verb == "MAIL" and good:
            self._mail, self._rcpts = text, []
        elif verb == "RCPT" and good:
            self._rcpts.append(text)
        elif verb == "AUTH" and good:
            self._login = text
        elif verb == "DATA" and good:
            return await self._content()
        elif verb == "STARTTLS" and good and self._sink.tls is not None:
            await self._writer.start_tls(self._sink.tls)
            self._tls = True
        return verb != "QUIT"

    def _hello(self) -> str:
        lines = ["sink", *self._sink.extensions]
        if self._sink.tls is not None and not self._tls:
            lines.append("STARTTLS")
        return "\r\n".join(f"250{'-' if line is not lines[-1] else ' '}{line}" for line in lines)

    async def _content(self) -> bool:
        lines = []
        while (line := await self._reader.readline()) != b".\r\n":
            if not line:
                return False
            lines.append(line.removeprefix(b"."))
        return await self._end(b"".join(lines))

    async def _chunk(self, text: str) -> bool:
        """BDAT, all of the content in one chunk."""
        size, _, last = text.removeprefix("BDAT ").partition(" ")
        content = await self._reader.readexactly(int(size))
        return await self._end(content) if last == "LAST" else await self._write("250 2.0.0 go on")

    async def _end(self, content: bytes) -> bool:
        """The replies to the content; whether the connection goes on."""
        if not self._sink.lmtp:
            return await self._settle(content, self._rcpts)
        for rcpt in self._rcpts:
            if not await self._settle(content, [rcpt]):
                return False
        return True

    async def _settle(self, content: bytes, rcpts: list[str]) -> bool:
        answer = await self._sink.answer(END)
        if rcpts and (answer == DROP or answer.startswith("2")):
            await self._sink.take(
                TakenMail(
                    sender=_path(self._mail),
                    recipients=tuple(_path(rcpt) for rcpt in rcpts),
                    content=content,
                    mail=self._mail,
                    rcpts=tuple(rcpts),
                    tls=self._tls,
                    login=self._login,
                    connection=self._number,
                    acknowledged=answer != DROP,
                    client=self._client,
                    hello=self._hello_line,
                )
            )
        return await self._write(answer)

    async def _say(self, name: str) -> bool:
        return await self._write(await self._sink.answer(name))

    async def _write(self, answer: str) -> bool:
        if answer == DROP:
            return False
        self._writer.write(answer.encode("utf-8", "surrogateescape") + b"\r\n")
        await self._writer.drain()
        return True


def _path(command: str) -> str:
    return command.partition("<")[2].rpartition(">")[0]
