"""Asks rspamd what to do with a message."""

from collections.abc import Iterator
from dataclasses import dataclass, replace

from posthorn_node.stream.connection import Connection
from posthorn_smtp_in.filters.channels import Channels, FilterFailed
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.filters.protocol.rspamd import Exchange, SpamJudgement
from posthorn_smtp_in.filters.settings import RspamdSettings
from posthorn_smtp_in.filters.spam_fields import spam_fields
from posthorn_smtp_in.filters.specimen import Envelope, Specimen
from posthorn_smtp_in.protocol.replies import reply

_RESULTS = {
    "no action": Result.PASSED,
    "greylist": Result.PASSED,  # only a wish: what its module for greylisting defers is a soft reject
    "add header": Result.JUNK,
    "rewrite subject": Result.JUNK,
    "quarantine": Result.JUNK,
    "soft reject": Result.DEFERRED,
    "reject": Result.REJECTED,
    "discard": Result.DISCARDED,
}


@dataclass(frozen=True, slots=True)
class Rspamd:
    """One rspamd, its worker for scanning or its proxy."""

    name: str
    settings: RspamdSettings
    channels: Channels

    async def scan(self, specimen: Specimen) -> Opinion:
        """Show it the content as the client sent it, and the envelope. Raises FilterFailed, BadAnswer."""

        async def talk(connection: Connection, _: bool) -> tuple[SpamJudgement, bool]:
            exchange = Exchange("rspamd", fields, specimen.size)
            await connection.send(exchange.head(), seconds)
            for piece in specimen.pieces():
                await connection.send(exchange.body(piece), seconds)
            await connection.send(exchange.end(), seconds)
            while True:
                found = exchange.feed(await connection.receive(seconds))
                if found is not None:
                    return found, exchange.reusable

        settings, seconds = self.settings, self.settings.timeouts.answer
        fields = [*_told(specimen.envelope), ("Password", settings.password.get_secret_value())]
        try:
            judgement = await self.channels.ask(talk)
        except ValueError as error:
            raise FilterFailed(str(error)) from None
        opinion = self._opinion(judgement)
        changes = judgement.changes if settings.change_fields else ()
        return replace(opinion, changes=(*changes, *(spam_fields(opinion) if settings.write_fields else ())))

    def _opinion(self, judgement: SpamJudgement) -> Opinion:
        result = _RESULTS.get(judgement.action)
        if result is None:
            raise FilterFailed(f"rspamd's action {judgement.action!r} is not known")
        opinion = Opinion(
            self.name,
            result,
            detail=judgement.action,
            score=judgement.score,
            required=judgement.required,
            symbols=judgement.symbols,
        ).limited(junk=self.settings.junk_score, reject=self.settings.reject_score)
        words = judgement.words
        if words and opinion.result is Result.REJECTED:
            return replace(opinion, reply=reply(550, "5.7.1", words))
        if words and opinion.result is Result.DEFERRED:
            return replace(opinion, reply=reply(451, "4.7.1", words))
        return opinion


def _told(envelope: Envelope) -> Iterator[tuple[str, str]]:
    """The envelope in rspamd's header fields; empty ones are left out."""
    yield "From", envelope.sender
    for recipient in envelope.recipients:
        yield "Rcpt", recipient
    yield "IP", envelope.address
    yield "Helo", envelope.hello
    yield "User", envelope.account
    yield "Queue-Id", envelope.delivery
    yield "MTA-Name", envelope.hostname
    version, _, cipher = envelope.tls.partition(" ")
    yield "TLS-Version", version
    yield "TLS-Cipher", cipher
