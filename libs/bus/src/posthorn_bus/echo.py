"""The echo test: a question to all, which every live process answers at once, and how long each answer took.

It goes the way of every event, over any coordinator, and is no more certain than they are: an answer that does not come
says that events to or from that process do not arrive, or that it is too busy to hear them.
"""

import asyncio
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from posthorn_bus.settings import BusIdentity
from posthorn_model.events import EchoAnswered, EchoAsked, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import Bus, Clock

PATIENCE = 2.0
"""Seconds an answer may take."""
MOST_ANSWERS = 10_000


@dataclass(frozen=True, slots=True)
class Answer:
    """One process answered after `seconds`; this process's own answer did not travel."""

    node: NodeId
    service: str
    boot: str
    seconds: float


@dataclass(slots=True)
class _Question:
    """A question under way."""

    probe: str
    asked: float
    expected: frozenset[str]
    answers: dict[str, Answer] = field(default_factory=dict)
    complete: asyncio.Event = field(default_factory=asyncio.Event)


class Echo:
    """Answers for one process, and asks."""

    def __init__(self, bus: Bus, identity: BusIdentity, clock: Clock) -> None:
        self._bus = bus
        self._identity = identity
        self._clock = clock
        self._questions: dict[str, _Question] = {}

    async def answer(self) -> None:
        """Answer everybody's questions and hear the answers to this process's own, until the bus stops."""
        me = self._identity
        async for event in self._bus.subscribe(Topic.CONTROL):
            if isinstance(event, EchoAsked):
                self._bus.publish(EchoAnswered(event.probe, me.node, me.service, me.boot))
            elif isinstance(event, EchoAnswered):
                self._hear(event)

    async def ask(self, expected: Collection[str], patience: float = PATIENCE) -> Sequence[Answer]:
        """Ask, and return the answers by node and service: all of `expected` (boot ids), or those within `patience` s.

        Only while `answer` runs. Processes beyond those expected answer too, and are among the answers if they were
        quick enough.
        """
        question = _Question(secrets.token_hex(8), self._clock.monotonic(), frozenset(expected))
        self._questions[question.probe] = question
        try:
            self._bus.publish(EchoAsked(question.probe))
            async with asyncio.timeout(patience):
                await question.complete.wait()
        except TimeoutError:
            pass
        finally:
            del self._questions[question.probe]
        return sorted(question.answers.values(), key=lambda answer: (answer.node, answer.service, answer.boot))

    def _hear(self, event: EchoAnswered) -> None:
        question = self._questions.get(event.probe)
        if question is None or event.boot in question.answers or len(question.answers) >= MOST_ANSWERS:
            return
        seconds = self._clock.monotonic() - question.asked
        question.answers[event.boot] = Answer(event.node, event.service, event.boot, seconds)
        if question.expected and question.expected <= question.answers.keys():
            question.complete.set()
