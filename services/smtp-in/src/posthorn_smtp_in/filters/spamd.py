"""Asks spamd for the score of a message."""

from dataclasses import dataclass, replace

from posthorn_node.stream.connection import Connection
from posthorn_smtp_in.filters.channels import Channels
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.filters.protocol import spamd
from posthorn_smtp_in.filters.settings import SpamdSettings
from posthorn_smtp_in.filters.spam_fields import fields_of_filter, spam_fields
from posthorn_smtp_in.filters.specimen import Specimen


@dataclass(frozen=True, slots=True)
class Spamd:
    """One spamd."""

    name: str
    settings: SpamdSettings
    channels: Channels

    async def scan(self, specimen: Specimen) -> Opinion:
        """Show it the message with the trace fields ahead that we will write: it judges by them where mail came from.

        Raises FilterFailed, BadAnswer.
        """

        async def talk(connection: Connection, _: bool) -> tuple[spamd.SpamReport, bool]:
            await connection.send(head, seconds)
            for piece in specimen.pieces():
                await connection.send(piece, seconds)
            return await _response(connection, seconds), False

        settings, seconds = self.settings, self.settings.timeouts.answer
        size = len(specimen.trace) + specimen.size
        head = spamd.request(settings.command, size=size, user=settings.user) + specimen.trace
        report = await self.channels.ask(talk)
        opinion = Opinion(
            self.name,
            Result.JUNK if report.spam else Result.PASSED,
            score=report.score,
            required=report.required,
            symbols=report.symbols if settings.command == "symbols" else (),
        ).limited(junk=settings.junk_score, reject=settings.reject_score)
        if not settings.write_fields:
            return opinion
        own = settings.command == "headers"
        return replace(opinion, changes=fields_of_filter(report.body) if own else spam_fields(opinion))


async def _response(connection: Connection, seconds: float) -> spamd.SpamReport:
    answer = bytearray()
    while True:
        data = await connection.receive(seconds)
        answer += data
        found = spamd.read_response(answer, ended=not data)
        if found is not None:
            return found
