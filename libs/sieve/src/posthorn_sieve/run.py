"""One run of a script over one message: the state that commands change, and the two ways it can end."""

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from posthorn_sieve.actions import Action, FileInto, Keep, Notify, Redirect, Reject, Vacation
from posthorn_sieve.errors import LimitReached, ScriptFailed, SieveError
from posthorn_sieve.letter import Letter, Place
from posthorn_sieve.matching import any_matches
from posthorn_sieve.program import Call, Script
from posthorn_sieve.situation import Outcome, Question, Situation
from posthorn_sieve.texts import Reference, Text

_MAX_DEPTH = 100
"""Blocks, tests and included scripts inside each other: each is a few frames of Python's stack."""
_CLOCK_EVERY = 64
"""Steps between two looks at the clock."""


class StopScript(Exception):
    """`stop` (RFC 5228 3.3)."""


class ReturnScript(Exception):
    """`return` (RFC 6609 3.3)."""


class BreakLoop(Exception):
    """`break` (RFC 5703 3.2)."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(name)


class _Ask(Exception):
    def __init__(self, question: Question) -> None:
        self.question = question
        super().__init__()


@dataclass(slots=True)
class Names:
    """Variables of one script; an included script has its own (RFC 6609 3.4)."""

    values: dict[str, str] = field(default_factory=dict)
    shared: set[str] = field(default_factory=set)
    """Declared by `global`."""
    matched: Sequence[str] = ()


@dataclass(slots=True)
class Run:
    """What a script has done so far."""

    situation: Situation
    letter: Letter
    script: Script
    names: Names = field(default_factory=Names)
    globals: dict[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    """The internal variable of RFC 5232 2."""
    actions: list[Action] = field(default_factory=list)
    implicit_keep: bool = True
    parts: list[Place] = field(default_factory=list)
    """The parts that the loops around are at, innermost last."""
    remember: dict[bytes, int] = field(default_factory=dict)
    asked: set[bytes] = field(default_factory=set)
    included: set[tuple[str, str]] = field(default_factory=set)
    depth: int = 0
    chain: int = 0
    """Scripts that include each other, this one last."""
    steps: int = 0
    notes: int = 0
    until: float = 0.0

    # Going through the script

    def block(self, calls: Sequence[Call]) -> None:
        """Run commands in their order (RFC 5228 3.1)."""
        self._deeper()
        taken = False
        for call in calls:
            if call.name in ("elsif", "else") and taken:
                continue
            self.spend(1)
            if call.name in ("if", "elsif"):
                taken = self.test(call.tests[0])
                if taken:
                    self.block(call.block)
            else:
                self._command(call)
        self.depth -= 1

    def _command(self, call: Call) -> None:
        try:
            call.word.run(self, call)
        except SieveError as error:
            raise _placed(error, call) from error

    def test(self, call: Call) -> bool:
        self._deeper()
        self.spend(1)
        try:
            result: Any = call.word.run(self, call)
        except SieveError as error:
            raise _placed(error, call) from error
        self.depth -= 1
        return bool(result)

    def _deeper(self) -> None:
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise LimitReached("blocks, tests and included scripts are nested too deep")

    def spend(self, steps: int) -> None:
        """Count work. Raises LimitReached."""
        before, self.steps = self.steps, self.steps + steps
        limits = self.situation.limits
        if self.steps > limits.steps:
            raise LimitReached(f"the script takes more than {limits.steps} steps")
        if before // _CLOCK_EVERY != self.steps // _CLOCK_EVERY and self.situation.monotonic() > self.until:
            raise LimitReached(f"the script takes longer than {limits.seconds:g} s")

    # Texts and variables

    def expand(self, text: Text) -> str:
        """The text with its references replaced (RFC 5229 3)."""
        if isinstance(text, str):
            return text
        pieces = [piece if isinstance(piece, str) else self._value(piece) for piece in text.pieces]
        length = sum(map(len, pieces))
        self.spend(length // 1_000)
        if length > self.situation.limits.text_length:
            raise LimitReached(f"a text is longer than {self.situation.limits.text_length} characters")
        return "".join(pieces)

    def expand_all(self, texts: Sequence[Text]) -> list[str]:
        return [text if isinstance(text, str) else self.expand(text) for text in texts]

    def _value(self, reference: Reference) -> str:
        if reference.number >= 0:
            matched = self.names.matched
            return matched[reference.number] if reference.number < len(matched) else ""
        return self.variables(reference).get(reference.name, "")

    def variables(self, reference: Reference) -> dict[str, str]:
        """The variables that a reference belongs to."""
        return self.globals if reference.shared or reference.name in self.names.shared else self.names.values

    def assign(self, reference: Reference, value: str) -> None:
        """Set a variable; what is too long is cut (RFC 5229 6). Raises LimitReached for too many."""
        limits = self.situation.limits
        variables = self.variables(reference)
        variables[reference.name] = value[: limits.variable_length]
        if len(variables) > limits.variables:
            raise LimitReached(f"the script has more than {limits.variables} variables")

    def bind(self, matched: Sequence[str]) -> None:
        """Keep what wildcards stood for (RFC 5229 3.2)."""
        if "variables" in self.script.extensions:
            limit = self.situation.limits.variable_length
            self.names.matched = [text[:limit] for text in matched]

    def matches(self, call: Call, values: Sequence[str], keys: Sequence[Text]) -> bool:
        """Compare as the tags of a test say."""
        return any_matches(
            call.match,
            values,
            self.expand_all(keys),
            limits=self.situation.limits,
            spend=self.spend,
            bind=self.bind,
        )

    # What the script decides

    def act(self, action: Action, *, keeps: bool = False) -> None:
        """Take an action into the list; without `keeps` the implicit keep is off (RFC 5228 2.10.2)."""
        limits = self.situation.limits
        if not keeps:
            self.implicit_keep = False
        if isinstance(action, Redirect):
            if any(isinstance(one, Redirect) and one.address == action.address for one in self.actions):
                return
            if sum(isinstance(one, Redirect) for one in self.actions) >= limits.redirects:
                raise LimitReached(f"the script redirects to more than {limits.redirects} addresses")
        if isinstance(action, Notify) and sum(isinstance(one, Notify) for one in self.actions) >= limits.notifications:
            raise LimitReached(f"the script sends more than {limits.notifications} notifications")
        self._check_conflict(action)
        self.actions.append(action)
        if len(self.actions) > limits.actions:
            raise LimitReached(f"the script takes more than {limits.actions} actions")

    def _check_conflict(self, action: Action) -> None:
        """A refused message is neither kept nor answered (RFC 5429 2.4, RFC 5230 4.7)."""
        if isinstance(action, Vacation) and any(isinstance(one, Vacation) for one in self.actions):
            raise ScriptFailed("vacation is used twice for one message")
        refused = isinstance(action, Reject)
        for one in self.actions:
            if isinstance(one, Notify) or isinstance(action, Notify):
                continue
            if refused or isinstance(one, Reject):
                raise ScriptFailed("a message cannot be both rejected and kept, filed, sent on or answered")

    def seen(self, key: bytes) -> bool:
        """Whether the memory of duplicates has a key; the run ends with the question where that is not known."""
        self.asked.add(key)
        if len(self.asked) > self.situation.limits.duplicates:
            raise LimitReached(f"the script looks for more than {self.situation.limits.duplicates} duplicates")
        if key not in self.situation.seen:
            raise _Ask(Question(key))
        return self.situation.seen[key]

    @property
    def place(self) -> Place:
        """The part that the innermost loop is at; outside of all loops the message."""
        return self.parts[-1] if self.parts else self.letter.whole


def evaluate(script: Script, situation: Situation) -> Outcome | Question:
    """Run a script: an outcome, or a question whose answer the next try must know. Raises nothing.

    The same script and situation give the same result; a run that was ended by a question has done nothing.
    """
    run = Run(situation, Letter(situation.content, situation.limits), script)
    run.until = situation.monotonic() + situation.limits.seconds
    try:
        _run(run)
        return _outcome(run)
    except _Ask as ask:
        return ask.question
    except SieveError as error:
        return Outcome((Keep(),), fault=error, steps=run.steps)
    except RecursionError:
        return Outcome((Keep(),), fault=LimitReached("the script is nested too deep"), steps=run.steps)


def _run(run: Run) -> None:
    with contextlib.suppress(StopScript, ReturnScript):
        run.block(run.script.block)


def _outcome(run: Run) -> Outcome:
    actions = list(run.actions)
    if run.implicit_keep:
        actions.append(Keep(run.flags, run.letter.changed))
    return Outcome(tuple(_joined(actions)), remember=tuple(run.remember.items()), steps=run.steps)


def _joined(actions: Sequence[Action]) -> list[Action]:
    """One delivery for each mailbox (RFC 5228 2.10.3), with the flags of all that name it."""
    joined: list[Action] = []
    places: dict[str, int] = {}
    for action in actions:
        if not isinstance(action, Keep | FileInto):
            joined.append(action)
            continue
        place = action.mailbox if isinstance(action, FileInto) else "INBOX"
        place = "INBOX" if place.upper() == "INBOX" else place
        if place not in places:
            places[place] = len(joined)
            joined.append(action)
            continue
        first = joined[places[place]]
        assert isinstance(first, Keep | FileInto)
        joined[places[place]] = replace(first, flags=tuple(dict.fromkeys((*first.flags, *action.flags))))
    return joined


def _placed(error: SieveError, call: Call) -> SieveError:
    """The same error with the place of the word that met it, where it has none."""
    return error if error.line else type(error)(error.problem, call.line, call.column)
