"""One milter through one SMTP session: told each step in order, at the stages of its settings at once, and else later.

A milter that fails is done with for the message at hand. For the next message there is a new connection to it, where it
is told from the start who the client is.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import TypeVar

from posthorn_node.stream.connection import ConnectionLost
from posthorn_smtp_in.filters.changes import BadChange
from posthorn_smtp_in.filters.channels import FilterFailed
from posthorn_smtp_in.filters.milter_lines import Line, Lines
from posthorn_smtp_in.filters.milter_message import MilterOutcome, refused, show
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.filters.protocol.milter_answers import Answer, Decision
from posthorn_smtp_in.filters.protocol.milter_commands import DATA, Told
from posthorn_smtp_in.filters.protocol.problems import BadAnswer
from posthorn_smtp_in.filters.settings import MilterSettings, MilterStage
from posthorn_smtp_in.filters.specimen import Specimen
from posthorn_smtp_in.protocol.replies import Reply, reply

FAILED = reply(451, "4.7.1", "A content filter does not answer, try again later")
_PASSING = (Decision.CONTINUE, Decision.SKIP, Decision.PROGRESS)

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Milter:
    """One milter of the settings."""

    name: str
    settings: MilterSettings
    lines: Lines


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the session, with the macros known at it."""

    stage: MilterStage
    told: Told
    macros: Mapping[str, str]


@dataclass(slots=True)
class Talk:
    """The conversation with one milter."""

    milter: Milter
    on_failure: Callable[[str], None]
    """Is told why, once for each message."""
    _greeting: list[Step] = field(default_factory=list)
    _envelope: list[Step] = field(default_factory=list)
    _told: int = 0
    """Steps of greeting and envelope that the milter has heard on this connection."""
    _line: Line | None = None
    _slot: AsyncExitStack = field(default_factory=AsyncExitStack)
    _satisfied: bool = False
    """It accepted the client, and wants to hear no more of it."""
    _settled: Answer | None = None
    """What it has decided about the message at hand."""
    _failed: str = ""

    async def greet(self, step: Step) -> Reply | None:
        """Connect or helo; a second helo takes the place of the first."""
        await self.end_message()
        known = [each for each in self._greeting if each.stage != step.stage]
        self._told = min(self._told, len(known))
        self._greeting = [*known, step]
        return await self._hear(step)

    async def hear(self, step: Step) -> Reply | None:
        """Mail, rcpt or data."""
        self._envelope.append(step)
        return await self._hear(step)

    async def show(self, specimen: Specimen) -> MilterOutcome:
        """The complete message; the outcome is a failure when the milter fails."""
        name, settings = self.milter.name, self.milter.settings
        if "data" in settings.stages and not self._failed and not self._over:
            if specimen.size > settings.max_size:
                return MilterOutcome(Opinion(name, Result.SKIPPED, detail=f"larger than {settings.max_size} octets"))
            if not any(step.told is DATA for step in self._envelope):  # by BDAT there is no such command
                self._envelope.append(Step("data", DATA, self._envelope[-1].macros))
            refusal = await self._guarded(self._catch_up)
            if refusal is not None and not self._failed:
                return MilterOutcome(refused(name, refusal))
            if not self._failed and not self._over:
                outcome = await self._guarded(lambda: self._shown(specimen))
                if outcome is not None:
                    return outcome
        if self._failed:
            return MilterOutcome(
                Opinion(name, Result.FAILED, detail=self._failed, closed=settings.on_failure == "closed")
            )
        if self._settled is not None and self._settled.decision is Decision.DISCARD:
            return MilterOutcome(Opinion(name, Result.DISCARDED))
        return MilterOutcome(Opinion(name, Result.PASSED))

    async def end_message(self) -> None:
        """The message is over, whatever became of it."""
        heard = self._told > len(self._greeting)
        self._envelope, self._settled, self._failed = [], None, ""
        self._told = min(self._told, len(self._greeting))
        line = self._line
        if heard and line is not None:
            await self._guarded(lambda: line.abort(self.milter.settings.timeouts.command))
            self._failed = ""

    async def close(self) -> None:
        """The session is over."""
        if self._line is not None:
            await self.milter.lines.give_back(self._line)
            self._line = None
        await self._slot.aclose()

    @property
    def _over(self) -> bool:
        return self._satisfied or self._settled is not None

    async def _hear(self, step: Step) -> Reply | None:
        settings = self.milter.settings
        if self._over or step.stage not in settings.stages:
            return None
        if not self._failed:
            refusal = await self._guarded(self._catch_up)
            if refusal is not None:
                return refusal
        # A client is not sent away because a filter fails: what it sends is put off.
        closed = self._failed and settings.on_failure == "closed" and step.stage not in ("connect", "helo")
        return FAILED if closed else None

    async def _guarded(self, act: Callable[[], Awaitable[_Value]]) -> _Value | None:
        """Do something with the milter; its failure is noted, and ends the connection to it."""
        try:
            return await act()
        except TimeoutError:
            reason = "no answer in time"
        except (FilterFailed, BadAnswer, BadChange, ConnectionLost) as error:
            reason = str(error)
        self._failed = reason
        self.on_failure(reason)
        if self._line is not None:
            self._line.connection.abort()
            self._line = None
        self._told = 0
        await self._slot.aclose()
        return None

    async def _catch_up(self) -> Reply | None:
        """Tell it all it has not heard yet; the reply that refuses the last of it, or anything before."""
        if self._line is None:
            self._told = 0
            await self._slot.enter_async_context(self.milter.lines.slot())
            self._line = self.milter.lines.kept() or await self.milter.lines.open()
        steps = [*self._greeting, *self._envelope]
        while self._told < len(steps) and not self._over:
            step = steps[self._told]
            answer = await self._tell(step)
            self._told += 1
            if answer is not None:
                refusal = self._judge(step, answer)
                if refusal is not None:
                    return refusal
        return None

    async def _tell(self, step: Step) -> Answer | None:
        seconds = self.milter.settings.timeouts.command
        assert self._line is not None
        try:
            answer = await self._line.tell(step.told, step.macros, seconds)
        except (ConnectionLost, FilterFailed):
            if self._line.new or self._told:
                raise
            # One that was kept from another session may have been closed meanwhile.
            self._line.connection.abort()
            self._line = await self.milter.lines.open()
            answer = await self._line.tell(step.told, step.macros, seconds)
        if answer is not None and not isinstance(answer, Answer):
            raise BadAnswer("the milter changes a message that it has not seen")
        return answer

    def _judge(self, step: Step, answer: Answer) -> Reply | None:
        if answer.decision in _PASSING:
            return None
        if self._line is not None and step in self._greeting:
            self._line.once = True
        if answer.decision is Decision.ACCEPT and step in self._greeting:
            self._satisfied = True
        elif answer.decision in (Decision.ACCEPT, Decision.DISCARD) and step not in self._greeting:
            self._settled = answer
        elif answer.reply is None:
            raise BadAnswer(f"the milter cannot answer {answer.decision.name} here")
        return answer.reply

    async def _shown(self, specimen: Specimen) -> MilterOutcome:
        line = self._line
        assert line is not None
        outcome = await show(self.milter.name, self.milter.settings, line, specimen, self._envelope[-1].macros)
        if outcome.ended:
            # With its answer to the end the milter has forgotten the message: there is nothing to abort.
            self._told = len(self._greeting)
            self._envelope = []
        return outcome
