"""A connection to a milter, past its negotiation: commands go out, answers come in, each within its time."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from posthorn_node.stream.connection import Connection, ConnectionLost
from posthorn_smtp_in.filters.channels import Channels, FilterFailed
from posthorn_smtp_in.filters.protocol import milter_commands as commands
from posthorn_smtp_in.filters.protocol.milter_answers import Answer, MilterChange, read_answer
from posthorn_smtp_in.filters.protocol.milter_commands import Told
from posthorn_smtp_in.filters.protocol.milter_packets import Action, Options, Packet, PacketReader, offer, read_options
from posthorn_smtp_in.filters.settings import MilterSettings

MAX_IDLE = 16


@dataclass(slots=True)
class Line:
    """One connection. Every method raises FilterFailed, BadAnswer, ConnectionLost or TimeoutError; then `close` it."""

    connection: Connection
    options: Options
    new: bool = True
    """Nothing but the negotiation has been said on it."""
    once: bool = False
    """It serves no other session: the milter has had enough of this one's client, and may hear no more."""
    _reader: PacketReader = field(default_factory=PacketReader)

    async def tell(self, told: Told, macros: Mapping[str, str], seconds: float) -> Answer | MilterChange | None:
        """Say something, and take the answer, if there is to be one."""
        if not told.wanted(self.options):
            return None
        await self.connection.send(told.encode(self.options, macros), seconds)
        return await self.answer(seconds) if told.answered(self.options) else None

    async def answer(self, seconds: float) -> Answer | MilterChange:
        """The next answer."""
        return read_answer(await _packet(self.connection, self._reader, seconds), self.options.actions)

    async def abort(self, seconds: float) -> None:
        """The message is not to be gone on with; the milter does not answer."""
        await self.connection.send(commands.ABORT, seconds)

    @property
    def alive(self) -> bool:
        """It is still open, and the milter has said nothing that nobody asked for."""
        return not self.connection.pending and not self.connection.lost.done() and self._reader.empty


class Lines:
    """The connections to one milter: each carries one session at a time, and is kept for the next where it may be."""

    def __init__(self, channels: Channels, settings: MilterSettings, actions: Action) -> None:
        self._channels = channels
        self._seconds = settings.timeouts.command
        self._actions = actions
        self._idle: list[Line] = []

    @asynccontextmanager
    async def slot(self) -> AsyncIterator[None]:
        """A place among the connections. Raises FilterFailed when none becomes free in time."""
        async with self._channels.slot():
            yield

    def kept(self) -> Line | None:
        """One that has served a session before."""
        while self._idle:
            line = self._idle.pop()
            if line.alive:
                return line
            line.connection.abort()
        return None

    async def open(self) -> Line:
        """A new one. Raises FilterFailed, BadAnswer, ConnectionLost, TimeoutError."""
        connection = await self._channels.open()
        reader = PacketReader()
        try:
            await connection.send(offer(self._actions), self._seconds)
            options = read_options(await _packet(connection, reader, self._seconds), self._actions)
        except BaseException:
            connection.abort()
            raise
        return Line(connection, options, _reader=reader)

    async def give_back(self, line: Line) -> None:
        """The session is over. Never raises for what the milter does."""
        again = line.alive and not line.once and len(self._idle) < MAX_IDLE
        again = again and line.options.version >= commands.QUIT_NEXT_SINCE
        try:
            await line.connection.send(commands.QUIT_NEXT if again else commands.QUIT, self._seconds)
        except ConnectionLost:
            again = False
        if again:
            line.new = False
            self._idle.append(line)
        else:
            line.connection.begin_close()

    def close(self) -> None:
        """End those that nobody uses."""
        for line in self._idle:
            line.connection.abort()
        self._idle.clear()


async def _packet(connection: Connection, reader: PacketReader, seconds: float) -> Packet:
    while (packet := reader.next()) is None:
        data = await connection.receive(seconds)
        if not data:
            raise FilterFailed("the milter closed the connection")
        reader.feed(data)
    return packet
