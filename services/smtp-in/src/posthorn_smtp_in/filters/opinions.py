"""What filters think of a message: opinions, which are facts for the verdict. Nothing here decides."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import StrEnum

from posthorn_delivery import Scores
from posthorn_smtp_in.filters.changes import Change
from posthorn_smtp_in.protocol.replies import Reply


class Result(StrEnum):
    """What a filter wants done with a message, or why it has no opinion; a label of metrics."""

    PASSED = "passed"
    JUNK = "junk"
    DISCARDED = "discarded"
    DEFERRED = "deferred"
    REJECTED = "rejected"
    SKIPPED = "skipped"
    """It was not asked: the message is larger than what it is shown."""
    FAILED = "failed"
    """It could not be reached, did not answer in time, or answered nonsense."""


@dataclass(frozen=True, slots=True)
class Opinion:
    """The opinion of one filter."""

    filter: str
    """The name of its table in the settings."""
    result: Result
    detail: str = ""
    """For the log: a signature's name, or what went wrong."""
    reply: Reply | None = None
    """What the client is to hear, where the filter says so."""
    closed: bool = False
    """The settings ask that a message is deferred that this filter failed on."""
    score: float | None = None
    required: float | None = None
    """The score from which on a message is junk."""
    infected: bool | None = None
    """What a virus scanner found; None: it is none, or has not looked."""
    symbols: tuple[str, ...] = ()
    changes: tuple[Change, ...] = ()

    def limited(self, *, junk: float | None, reject: float | None) -> "Opinion":
        """The same with the thresholds of the settings in place of the filter's own, where they are set."""
        if self.score is None or (junk is None and reject is None):
            return self
        result = self.result
        if junk is not None and result in (Result.PASSED, Result.JUNK):
            result = Result.JUNK if self.score >= junk else Result.PASSED
        if reject is not None:
            if self.score >= reject:
                result = Result.REJECTED
            elif result is Result.REJECTED:
                result = Result.JUNK
        return replace(self, result=result, required=self.required if junk is None else junk)


def scores(opinions: Iterable[Opinion]) -> Scores:
    """The worst of all opinions; a score for spam counts by how near it is to the one required."""
    spam, virus = None, None
    for opinion in opinions:
        if opinion.score is not None and opinion.required is not None and opinion.required > 0:
            spam = max(spam or 0.0, min(opinion.score / opinion.required, 1.0))
        if opinion.infected is not None:
            virus = max(virus or 0.0, float(opinion.infected))
    return Scores(spam, virus)
