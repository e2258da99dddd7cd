"""The milters of one SMTP session, in the order of the settings: each is told what the ones before it have left."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

from structlog.typing import FilteringBoundLogger

from posthorn_model.ports import Clock
from posthorn_smtp_in.figures import Figures
from posthorn_smtp_in.filters.milter_message import refused
from posthorn_smtp_in.filters.milter_talk import Milter, Step, Talk
from posthorn_smtp_in.filters.opinions import Opinion
from posthorn_smtp_in.filters.protocol import milter_commands as commands
from posthorn_smtp_in.filters.scanning import record
from posthorn_smtp_in.filters.settings import MilterStage
from posthorn_smtp_in.filters.specimen import Specimen
from posthorn_smtp_in.protocol.commands import Mail, Rcpt
from posthorn_smtp_in.protocol.replies import Reply


@dataclass(frozen=True, slots=True)
class Seen:
    """What all milters have made of a message."""

    opinions: tuple[Opinion, ...]
    specimen: Specimen
    """With the header section and body that they left."""
    sender: str | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


@dataclass(slots=True)
class Milters:
    """Tells each step to each milter; the first refusal is the reply. Without milters nothing happens."""

    talks: Sequence[Talk]
    figures: Figures
    clock: Clock
    log: FilteringBoundLogger
    _macros: dict[str, str] = field(default_factory=dict)

    async def connect(self, address: str, *, listener: str, hostname: str) -> Reply | None:
        """A client has come."""
        name = f"[{address}]" if address else "localhost"
        self._macros = {"j": hostname, "_": name, "daemon_name": listener, "client_addr": address, "client_name": name}
        return await self._greet("connect", lambda: commands.connect(address))

    async def hello(self, name: str, *, tls: str) -> Reply | None:
        """EHLO, HELO or LHLO; `tls` is version and cipher."""
        version, _, cipher = tls.partition(" ")
        self._macros |= {"tls_version": version, "cipher": cipher}
        return await self._greet("helo", lambda: commands.helo(name))

    async def sender(self, mail: Mail, *, delivery: UUID, account: str) -> Reply | None:
        """MAIL, when we would take it; after a refusal the message is over."""
        if not self.talks:
            return None
        self._macros |= {"i": str(delivery), "auth_authen": account, "mail_addr": mail.sender}
        size = [f"SIZE={mail.size}"] if mail.size else []
        body = ["BODY=8BITMIME"] if mail.eight_bit else []
        utf8 = ["SMTPUTF8"] if mail.smtputf8 else []
        refusal = await self._hear("mail", lambda: commands.mail(mail.sender, [*size, *body, *utf8]))
        if refusal is not None:
            await self.end_message()
        return refusal

    async def recipient(self, rcpt: Rcpt) -> Reply | None:
        """RCPT, when we would take it."""
        if not self.talks:
            return None
        self._macros |= {"rcpt_addr": rcpt.recipient}
        return await self._hear("rcpt", lambda: commands.rcpt(rcpt.recipient, []))

    async def data(self) -> Reply | None:
        """DATA."""
        return await self._hear("data", lambda: commands.DATA)

    async def show(self, specimen: Specimen) -> Seen:
        """The complete message."""
        seen, log = Seen((), specimen), self.log.bind(delivery=specimen.envelope.delivery)
        for talk in self.talks:
            started = self.clock.monotonic()
            outcome = await talk.show(seen.specimen)
            record(outcome.opinion, self.clock.monotonic() - started, figures=self.figures, log=log)
            after = seen.specimen
            if outcome.head is not None:
                after = replace(after, head=outcome.head)
            if outcome.body is not None:
                after = replace(after, body=outcome.body)
            seen = Seen(
                (*seen.opinions, outcome.opinion),
                after,
                sender=seen.sender if outcome.sender is None else outcome.sender,
                added=(*seen.added, *outcome.added),
                removed=(*seen.removed, *outcome.removed),
            )
        return seen

    async def end_message(self) -> None:
        """The message is over, whatever became of it."""
        for talk in self.talks:
            await talk.end_message()

    async def close(self) -> None:
        """The session is over."""
        for talk in self.talks:
            await talk.end_message()
            await talk.close()

    async def _greet(self, stage: MilterStage, told: Callable[[], commands.Told]) -> Reply | None:
        if not self.talks:
            return None
        step = Step(stage, told(), dict(self._macros))
        for talk in self.talks:
            if (refusal := await talk.greet(step)) is not None:
                return self._refused(talk, stage, refusal)
        return None

    async def _hear(self, stage: MilterStage, told: Callable[[], commands.Told]) -> Reply | None:
        if not self.talks:
            return None
        step = Step(stage, told(), dict(self._macros))
        for talk in self.talks:
            if (refusal := await talk.hear(step)) is not None:
                return self._refused(talk, stage, refusal)
        return None

    def _refused(self, talk: Talk, stage: MilterStage, refusal: Reply) -> Reply:
        opinion = refused(talk.milter.name, refusal)
        self.figures.filters.labels(opinion.filter, opinion.result.value).inc()
        self.log.info("filtered", filter=opinion.filter, result=opinion.result.value, stage=stage, code=refusal.code)
        return refusal


def make_milters(milters: Sequence[Milter], *, figures: Figures, clock: Clock, log: FilteringBoundLogger) -> Milters:
    """The milters of a new session."""

    def told_of(milter: Milter) -> Callable[[str], None]:
        return lambda reason: log.warning("filter failed", filter=milter.name, detail=reason)

    return Milters([Talk(milter, told_of(milter)) for milter in milters], figures, clock, log)
