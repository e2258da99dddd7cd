"""Shows a complete message to a milter: fields, body, and then what it decides and changes."""

import asyncio
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from posthorn_smtp_in.filters.changes import (
    MAX_CHANGES,
    AddField,
    Change,
    ChangeField,
    Head,
    InsertField,
    RemoveFields,
    apply,
    split,
)
from posthorn_smtp_in.filters.milter_lines import Line
from posthorn_smtp_in.filters.opinions import Opinion, Result
from posthorn_smtp_in.filters.protocol import milter_commands as commands
from posthorn_smtp_in.filters.protocol.milter_answers import (
    AddRecipient,
    Answer,
    ChangeSender,
    Decision,
    MilterChange,
    Quarantine,
    RemoveRecipient,
    ReplaceBody,
)
from posthorn_smtp_in.filters.protocol.problems import BadAnswer
from posthorn_smtp_in.filters.settings import MilterSettings
from posthorn_smtp_in.filters.specimen import PIECE, Specimen
from posthorn_smtp_in.protocol.replies import Reply

LONGEST = 300.0
"""Seconds for one message and one milter, however much progress it tells of."""


@dataclass(frozen=True, slots=True)
class MilterOutcome:
    """What a milter thinks of a message, and what it has changed."""

    opinion: Opinion
    ended: bool = False
    """It has heard the end of the message, and waits for the next one."""
    head: bytes | None = None
    """The header section with its changes; None: as it was."""
    body: bytes | None = None
    sender: str | None = None
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()


async def show(
    name: str, settings: MilterSettings, line: Line, specimen: Specimen, macros: Mapping[str, str]
) -> MilterOutcome:
    """Show it all. Raises what a line raises, and BadChange."""
    async with asyncio.timeout(LONGEST):
        seconds = settings.timeouts.content
        head = split(specimen.head)
        for told in commands.headers(head.fields, line.options):
            answer = await line.tell(told, macros, seconds)
            if (early := _early(name, answer)) is not None:
                return early
        for piece in _body(head, specimen):
            answer = await line.tell(commands.body(piece), macros, seconds)
            if isinstance(answer, Answer) and answer.decision is Decision.SKIP:
                break
            if (early := _early(name, answer)) is not None:
                return early
        changes = _Changes(specimen)
        answer = await line.tell(commands.END, macros, seconds)
        while not isinstance(answer, Answer) or answer.decision is Decision.PROGRESS:
            if answer is not None and not isinstance(answer, Answer):
                changes.take(answer)
            answer = await line.answer(seconds)
        return changes.outcome(name, answer, head)


def refused(name: str, refusal: Reply) -> Opinion:
    """The opinion of a filter that gives a reply of 4yz or 5yz."""
    return Opinion(name, Result.REJECTED if refusal.code >= 500 else Result.DEFERRED, reply=refusal)


def _early(name: str, answer: Answer | MilterChange | None) -> MilterOutcome | None:
    """The outcome when an answer ahead of the end is none to go on with."""
    if answer is None:
        return None
    if not isinstance(answer, Answer):
        raise BadAnswer("the milter changes a message that it has not seen")
    match answer.decision:
        case Decision.CONTINUE:
            return None
        case Decision.ACCEPT:
            return MilterOutcome(Opinion(name, Result.PASSED))
        case Decision.DISCARD:
            return MilterOutcome(Opinion(name, Result.DISCARDED))
    if answer.reply is None:
        raise BadAnswer(f"the milter cannot answer {answer.decision.name} here")
    return MilterOutcome(refused(name, answer.reply))


def _body(head: Head, specimen: Specimen) -> Iterator[bytes]:
    """The body in pieces; what cannot be read as a field belongs to it."""
    rest = head.rest.removeprefix(b"\r\n")
    for start in range(0, len(rest), PIECE):
        yield rest[start : start + PIECE]
    yield from specimen.body_pieces()


@dataclass(slots=True)
class _Changes:
    """Changes as they come, bounded in number and size."""

    specimen: Specimen
    count: int = 0
    size: int = 0
    fields: list[Change] = field(default_factory=list)
    added: list[str] = field(default_factory=list)
    removed: list[str] = field(default_factory=list)
    sender: str | None = None
    body: bytearray | None = None
    quarantine: str = ""

    def take(self, change: MilterChange) -> None:
        """Note one change. Raises BadAnswer when there are too many."""
        match change:
            case ReplaceBody(piece):
                self.body = self.body or bytearray()
                self.body += piece
                if len(self.body) > 2 * self.specimen.size + (1 << 20):
                    raise BadAnswer("the milter's body is far larger than the message")
                return
            case AddField(name, value) | InsertField(_, name, value) | ChangeField(name, _, value):
                self.size += len(name) + len(value)
                self.fields.append(change)
            case RemoveFields():
                self.fields.append(change)
            case ChangeSender(address):
                self.sender = address
            case AddRecipient(address):
                self.added.append(address)
            case RemoveRecipient(address):
                self.removed.append(address)
            case Quarantine(reason):
                self.quarantine = reason or "quarantined"
        self.count += 1
        if self.count > MAX_CHANGES or self.size > 1 << 20:
            raise BadAnswer("the milter wants too many changes")

    def outcome(self, name: str, answer: Answer, head: Head) -> MilterOutcome:
        """What all of it comes to with the last answer. Raises BadAnswer, BadChange."""
        if answer.reply is not None:
            return MilterOutcome(refused(name, answer.reply), ended=True)
        if answer.decision is Decision.DISCARD:
            return MilterOutcome(Opinion(name, Result.DISCARDED), ended=True)
        if answer.decision not in (Decision.CONTINUE, Decision.ACCEPT):
            raise BadAnswer(f"the milter cannot answer {answer.decision.name} at the end of a message")
        result = Result.JUNK if self.quarantine else Result.PASSED
        if self.body is not None:
            head = Head(head.fields, b"\r\n")
        changed = apply(head, self.fields)
        return MilterOutcome(
            Opinion(name, result, detail=self.quarantine),
            ended=True,
            head=changed.encode() if self.fields or self.body is not None else None,
            body=None if self.body is None else bytes(self.body),
            sender=self.sender,
            added=tuple(self.added),
            removed=tuple(self.removed),
        )
