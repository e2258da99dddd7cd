"""Asks clamd whether a message is infected."""

import contextlib
from dataclasses import dataclass

from posthorn_node.stream.connection import Connection, ConnectionLost
from posthorn_smtp_in.filters.channels import Channels, FilterFailed
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.filters.protocol import clamd
from posthorn_smtp_in.filters.settings import ClamdSettings
from posthorn_smtp_in.filters.specimen import Specimen
from posthorn_smtp_in.protocol.replies import reply

_RESULTS = {"reject": Result.REJECTED, "junk": Result.JUNK, "discard": Result.DISCARDED}


@dataclass(frozen=True, slots=True)
class Clamd:
    """One clamd."""

    name: str
    settings: ClamdSettings
    channels: Channels

    async def scan(self, specimen: Specimen) -> Opinion:
        """Show it the content as the client sent it. Raises FilterFailed."""

        async def talk(connection: Connection, new: bool) -> tuple[clamd.ScanAnswer, bool]:
            if new:
                await connection.send(clamd.BEGIN, seconds)
            answer = await _exchange(connection, specimen, seconds)
            return answer, not answer.problem

        seconds = self.settings.timeouts.answer

        answer = await self.channels.ask(talk)
        if answer.problem:
            raise FilterFailed(f"clamd has a problem: {answer.problem}")
        if not answer.infection:
            return Opinion(self.name, Result.PASSED, infected=False)
        words = f"The message is infected: {answer.infection}"
        return Opinion(
            self.name,
            _RESULTS[self.settings.infected],
            detail=answer.infection,
            reply=reply(554, "5.7.1", words),
            infected=True,
        )


async def _exchange(connection: Connection, specimen: Specimen, seconds: float) -> clamd.ScanAnswer:
    with contextlib.suppress(ConnectionLost):  # it may have answered before it closed: a limit of its own was reached
        await connection.send(clamd.SCAN, seconds)
        for piece in specimen.pieces():
            await connection.send(clamd.chunk(piece), seconds)
            if connection.pending:
                break
        else:
            await connection.send(clamd.END, seconds)
    answer = bytearray()
    while True:
        data = await connection.receive(seconds)
        answer += data
        found = clamd.read_answer(answer)
        if found is not None:
            return found
        if not data:
            raise FilterFailed("clamd closed the connection without an answer")
