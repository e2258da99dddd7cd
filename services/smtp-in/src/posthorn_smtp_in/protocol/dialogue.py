"""The server's half of the dialogue: feed bytes, take events, answer each; the answer moves the state.

Every event but content pieces and content starts waits for exactly one `answer` (an end of content in LMTP for one
reply per recipient) before the next is handed out, so that pipelined commands are judged in order (RFC 2920).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from posthorn_smtp_in.protocol.commands import Bdat, Command, Verb
from posthorn_smtp_in.protocol.content import ChunkReader, ContentLimits, DotReader, Fault, flood_size
from posthorn_smtp_in.protocol.problems import CommandProblem
from posthorn_smtp_in.protocol.reading import read_command
from posthorn_smtp_in.protocol.replies import BARE_LINE_END, LINE_TOO_LONG, OUT_OF_SEQUENCE, UNKNOWN_COMMAND, Reply
from posthorn_smtp_in.protocol.states import Phase, next_phase, out_of_sequence

MAX_COMMAND = 2048
"""Octets of a command line: 512 and what the extensions add (RFC 5321 4.5.3.1.4, RFC 3461 4, RFC 6531 3.4)."""
MAX_AUTH_LINE = 12288
"""RFC 4954 4."""


@dataclass(frozen=True, slots=True)
class Malformed:
    """A line that is no command, or one that may not come now; answer with `reply`."""

    reply: Reply


@dataclass(frozen=True, slots=True)
class ChallengeAnswer:
    """The line that answers a 334."""

    text: bytes


class ContentPiece(NamedTuple):
    """Octets of the message; needs no answer."""

    data: bytes


@dataclass(frozen=True, slots=True)
class ChunkEnd:
    """One BDAT chunk that is not the last has arrived."""

    size: int
    fault: Fault | None


class ContentEnd(NamedTuple):
    """The message is complete: `size` octets as the client meant them."""

    size: int
    fault: Fault | None


Event = Command | Malformed | ChallengeAnswer | ContentPiece | ChunkEnd | ContentEnd


class Dialogue:
    """State of one connection. Not aware of time, TLS or policy."""

    def __init__(self, limits: ContentLimits, *, lmtp: bool = False) -> None:
        self.phase = Phase.FRESH
        self._limits = limits
        self._lmtp = lmtp
        self._buffer = bytearray()
        self._pending: Verb | None = None
        self._skipping_line = False
        self._content: DotReader | None = None
        self._chunks: ChunkReader | None = None
        self._chunk: Bdat | None = None
        self._chunk_left = 0
        self._chunk_refusal: Reply | None = None
        self._ended: ContentEnd | ChunkEnd | None = None

    @property
    def idle(self) -> bool:
        """Between transactions, with nothing half read."""
        return self.phase in (Phase.FRESH, Phase.READY) and self._pending is None and not self._buffer

    def feed(self, data: bytes) -> None:
        """Take bytes from the peer."""
        self._buffer += data

    def forget_input(self) -> int:
        """Drop what the peer sent ahead (RFC 3207 4.2: plaintext before TLS is not to be believed); octets dropped."""
        dropped = len(self._buffer)
        self._buffer.clear()
        return dropped

    def next_event(self) -> Event | None:
        """The next event, or None when more bytes are needed. The last one must have been answered."""
        if self._pending is not None:
            raise RuntimeError("the last event has not been answered")
        if self.phase is Phase.ENDED:
            return None
        if self._ended is not None:
            return self._end()
        if self._content is not None:
            return self._read_content(self._content)
        if self._chunk is not None:
            return self._read_chunk(self._chunk)
        line = self._take_line()
        if line is None:
            return None
        if isinstance(line, Malformed):
            self._pending = Verb.NOOP
            return line
        if self.phase is Phase.CHALLENGE:
            self.phase = Phase.READY
            self._pending = Verb.AUTH
            return ChallengeAnswer(line)
        return self._read_line(line)

    def answer(self, reply: Reply) -> bytes:
        """Answer the pending event; returns the bytes to send."""
        return self.answer_all((reply,))

    def answer_all(self, replies: Sequence[Reply]) -> bytes:
        """Answer an end of content with one reply per accepted recipient (RFC 2033 4.2)."""
        verb = self._pending
        if verb is None:
            raise RuntimeError("no event waits for an answer")
        self._pending = None
        self.phase = next_phase(verb, self.phase, replies[-1])
        if verb is Verb.DATA and self.phase is Phase.CONTENT:
            self._content = DotReader(self._limits)
        return b"".join([reply.encode() for reply in replies])

    def close(self, reply: Reply) -> bytes:
        """End the dialogue from our side (421); also when an event waits."""
        self._pending = None
        self.phase = Phase.ENDED
        return reply.encode()

    def _take_line(self) -> bytes | Malformed | None:
        challenge = self.phase is Phase.CHALLENGE
        limit = MAX_AUTH_LINE if challenge or self._buffer[:5].upper() == b"AUTH " else MAX_COMMAND
        end = self._buffer.find(b"\n")
        if end < 0:
            if len(self._buffer) > limit or self._skipping_line:
                self._skipping_line = True
                self._buffer.clear()
            return None
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 1]
        if self._skipping_line or len(line) > limit:
            self._skipping_line = False
            return self._broken_line(LINE_TOO_LONG)
        if not line.endswith(b"\r") or b"\r" in line[:-1]:
            return self._broken_line(BARE_LINE_END)
        return line[:-1]

    def _broken_line(self, reply: Reply) -> Malformed:
        if self.phase is Phase.CHALLENGE:
            self.phase = Phase.READY
        return Malformed(reply)

    def _read_line(self, line: bytes) -> Event | None:
        self._pending = Verb.NOOP
        try:
            command = read_command(line)
        except CommandProblem as problem:
            return Malformed(problem.reply)
        if command.verb in (Verb.EHLO, Verb.HELO, Verb.LHLO) and (command.verb is Verb.LHLO) != self._lmtp:
            return Malformed(UNKNOWN_COMMAND)  # RFC 2033 4.1
        refusal = out_of_sequence(command.verb, self.phase)
        if isinstance(command, Bdat):
            self._pending = None
            self._start_chunk(command, refusal)
            return self.next_event()
        if refusal is not None:
            return Malformed(refusal)
        self._pending = command.verb
        return command

    def _start_chunk(self, command: Bdat, refusal: Reply | None) -> None:
        """Chunk octets follow whatever is answered (RFC 3030 2): even a refused chunk is read to its end."""
        self._chunk, self._chunk_left, self._chunk_refusal = command, command.size, refusal
        if self.phase is Phase.RECIPIENTS and refusal is None:
            self._chunks = ChunkReader(self._limits)
        if command.size > flood_size(self._limits):
            self._ended = ContentEnd(command.size, Fault.FLOOD)

    def _read_content(self, content: DotReader) -> Event | None:
        if not self._buffer:
            return None
        piece, rest = content.feed(bytes(self._buffer))
        self._buffer = bytearray(rest)
        if content.done or content.rules.fault is Fault.FLOOD:
            self._ended = ContentEnd(content.rules.size, content.rules.fault)
        return ContentPiece(piece) if piece else self._end()

    def _read_chunk(self, chunk: Bdat) -> Event | None:
        data = bytes(self._buffer[: self._chunk_left])
        if not data and self._chunk_left:
            return None
        del self._buffer[: len(data)]
        self._chunk_left -= len(data)
        complete = self._chunk_left == 0
        if self._chunk_refusal is not None or self._chunks is None:
            return self._refuse_chunk() if complete else None
        piece = self._chunks.feed(data, last=complete and chunk.last)
        rules = self._chunks.rules
        if rules.fault is Fault.FLOOD or (complete and chunk.last):
            self._ended = ContentEnd(rules.size, rules.fault)
        elif complete:
            self._ended = ChunkEnd(chunk.size, rules.fault)
        return ContentPiece(piece) if piece else self._end()

    def _refuse_chunk(self) -> Malformed:
        refusal = self._chunk_refusal or OUT_OF_SEQUENCE
        self._chunk = None
        self._pending = Verb.NOOP
        return Malformed(refusal)

    def _end(self) -> ContentEnd | ChunkEnd | None:
        """Hand out the end that was found, once the last piece is out."""
        end, self._ended = self._ended, None
        if end is None:
            return None
        self._chunk = None
        if isinstance(end, ChunkEnd):
            self._pending = Verb.BDAT
            return end
        self._content = None
        self._chunks = None
        self.phase = Phase.READY
        self._pending = Verb.NOOP
        return end
