r"""Plays conversations written as text against a running server of any protocol of lines (IMAP, SMTP, POP3, LMTP).

    S: * OK ...
    C: a LOGIN {user} {password}
    S: a OK ...
    C: b SELECT INBOX
    S*: * OK [UIDVALIDITY {validity}] ...
    S*: b OK ...
    2 C: a NOOP

| line | meaning |
|---|---|
| `C: text` | the client sends the text and CRLF |
| `C\: text` | the client sends the text with its Python escapes (`\r\n`, `\0`, `\xff`) and nothing else |
| `S: pattern` | the server's next line |
| `S*: pattern` | a later line; those before it are passed over |
| `S&: pattern` | consecutive ones are the next lines, in any order |
| `S!: pattern` | the next line, which must *not* match, and is passed over |
| `E:` | the server closes the connection, perhaps after more lines |
| `TLS:` | both sides start TLS |

In patterns `...` is anything, `{name}` is what a variable holds, or, unknown so far, anything without white space,
which the variable holds from then on. In front of a line the name of a further connection may stand. Empty lines and
lines that begin with `#` say nothing. Each wait is bounded: what does not come is a failure that shows the transcript.
"""

import asyncio
import re
import ssl
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field

Streams = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Connect = Callable[[], Awaitable[Streams]]

_LINE = re.compile(r"\s*(?:(\w+) )?(C|C\\|S|S\*|S&|S!|E|TLS):(?: (.*))?")
_TOKEN = re.compile(r"\.\.\.|\{([a-z_][a-z_0-9]*)\}")
MAX_LINE = 1 << 24


class ConversationFailed(AssertionError):
    """The other side said something else than the script; the text has the transcript."""


@dataclass(frozen=True, slots=True)
class Step:
    number: int
    """Line of the script."""
    who: str
    kind: str
    text: str


def parse(script: str) -> Iterator[Step]:
    """The steps of a script. Raises ValueError for a line that is none."""
    for number, line in enumerate(script.splitlines(), 1):
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        found = _LINE.fullmatch(line)
        if found is None:
            raise ValueError(f"line {number} of the script is no step: {line}")
        yield Step(number, found[1] or "", found[2], found[3] or "")


@dataclass(slots=True)
class Conversation:
    """Connections to one server and what they have said. `wait` is in seconds, for each line of the server."""

    connect: Connect
    wait: float = 20.0
    variables: dict[str, str] = field(default_factory=dict)
    transcript: list[str] = field(default_factory=list)
    _streams: dict[str, Streams] = field(default_factory=dict)

    async def play(self, script: str, **variables: object) -> None:
        """Play a script; connections stay open for further ones. Raises ConversationFailed."""
        self.variables.update({name: str(value) for name, value in variables.items()})
        steps = list(parse(script))
        while steps:
            step = steps.pop(0)
            if step.kind == "S&":
                group = [step]
                while steps and steps[0].kind == "S&" and steps[0].who == step.who:
                    group.append(steps.pop(0))
                await self._any_order(group)
            else:
                await self._one(step)

    async def close(self) -> None:
        """Close all connections."""
        for _, writer in self._streams.values():
            writer.close()
        for _, writer in self._streams.values():
            try:
                await asyncio.wait_for(writer.wait_closed(), self.wait)
            except (OSError, ssl.SSLError, TimeoutError):
                continue
        self._streams.clear()

    async def _one(self, step: Step) -> None:
        match step.kind:
            case "C":
                await self._send(step.who, self._filled(step.text).encode() + b"\r\n")
            case "C\\":
                text = self._filled(step.text).encode("latin-1").decode("unicode_escape")
                await self._send(step.who, text.encode("latin-1"))
            case "S":
                line = await self._receive(step)
                if not self._matches(step.text, line):
                    raise self._failure(step, f"the server said: {line}")
            case "S*":
                while not self._matches(step.text, await self._receive(step)):
                    continue
            case "S!":
                line = await self._receive(step)
                if self._matches(step.text, line):
                    raise self._failure(step, f"the server said: {line}")
            case "E":
                await self._ended(step)
            case _:
                await self._start_tls(step.who)

    async def _any_order(self, group: list[Step]) -> None:
        left = list(group)
        for _ in group:
            line = await self._receive(left[0])
            found = next((step for step in left if self._matches(step.text, line)), None)
            if found is None:
                raise self._failure(left[0], f"the server said: {line}")
            left.remove(found)

    async def _open(self, who: str) -> Streams:
        if who not in self._streams:
            self._streams[who] = await asyncio.wait_for(self.connect(), self.wait)
        return self._streams[who]

    async def _send(self, who: str, octets: bytes) -> None:
        _, writer = await self._open(who)
        self.transcript.append(f"{who} C: {octets!r}"[:500])
        writer.write(octets)
        try:
            await writer.drain()
        except ConnectionError:
            self.transcript.append(f"{who} (the server has closed)")

    async def _receive(self, step: Step) -> str:
        reader, _ = await self._open(step.who)
        try:
            octets = await asyncio.wait_for(reader.readuntil(b"\n"), self.wait)
        except TimeoutError:
            raise self._failure(step, f"the server said nothing for {self.wait:g} s") from None
        except (asyncio.IncompleteReadError, ConnectionError) as error:
            raise self._failure(step, f"the server closed the connection ({type(error).__name__})") from None
        line = octets.decode("utf-8", "backslashreplace")
        self.transcript.append(f"{step.who} S: {line!r}"[:500])
        if not line.endswith("\r\n"):
            raise self._failure(step, f"a line that does not end with CRLF: {line!r}")
        return line.removesuffix("\r\n")

    async def _ended(self, step: Step) -> None:
        reader, _ = await self._open(step.who)
        try:
            rest = await asyncio.wait_for(reader.read(), self.wait)
        except TimeoutError:
            raise self._failure(step, "the server keeps the connection open") from None
        except (ConnectionError, ssl.SSLError):
            rest = b""
        self.transcript.append(f"{step.who} S: {rest!r} and the end")
        _, writer = self._streams.pop(step.who)
        writer.close()

    async def _start_tls(self, who: str) -> None:
        context = ssl.create_default_context()
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _, writer = await self._open(who)
        await asyncio.wait_for(writer.start_tls(context), self.wait)
        self.transcript.append(f"{who} TLS")

    def _filled(self, text: str) -> str:
        return _TOKEN.sub(lambda token: self.variables.get(token[1] or "", token[0]), text)

    def _matches(self, pattern: str, line: str) -> bool:
        """Whether a line matches; then new variables of the pattern are set."""
        expression, at, new = [], 0, []
        for token in _TOKEN.finditer(pattern):
            expression.append(re.escape(pattern[at : token.start()]))
            at = token.end()
            name = token[1]
            if name is None:
                expression.append(".*")
            elif name in self.variables:
                expression.append(re.escape(self.variables[name]))
            elif name in new:
                expression.append(f"(?P={name})")
            else:
                expression.append(rf"(?P<{name}>\S+?)")
                new.append(name)
        expression.append(re.escape(pattern[at:]))
        found = re.fullmatch("".join(expression), line, re.DOTALL)
        if found is None:
            return False
        self.variables.update(found.groupdict())
        return True

    def _failure(self, step: Step, reason: str) -> ConversationFailed:
        wanted = f"{step.who} {step.kind}: {step.text}".strip()
        said = "\n".join(self.transcript[-60:])
        return ConversationFailed(f"line {step.number} of the script: {wanted}\n{reason}\n--- transcript\n{said}")


def to(host: str, port: int, *, tls: bool = False) -> Connect:
    """A way to connect: in plain text, or with TLS from the first octet on, its certificate not verified."""

    async def connect() -> Streams:
        context = None
        if tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
        return await asyncio.open_connection(host, port, ssl=context, limit=MAX_LINE)

    return connect
