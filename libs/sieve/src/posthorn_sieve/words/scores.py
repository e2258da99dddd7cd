"""What content filters found (RFC 5235)."""

from posthorn_sieve.program import Call, Kind, MatchType, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags


def _spam(run: Run, call: Call) -> bool:
    score = run.situation.spam
    if "percent" in call.tags:
        value = round(score.value * 100) if score.tested else 0
    else:
        value = 1 + round(score.value * 9) if score.tested else 0
    return _compare(run, call, value, tested=score.tested)


def _virus(run: Run, call: Call) -> bool:
    score = run.situation.virus
    return _compare(run, call, 1 + round(score.value * 4) if score.tested else 0, tested=score.tested)


def _compare(run: Run, call: Call, value: int, *, tested: bool) -> bool:
    if call.match.type is MatchType.COUNT:
        return run.matches(call, ["x"] if tested else [], (call.arguments[0],))
    return run.matches(call, [str(value)], (call.arguments[0],))


COMMANDS: dict[str, Word] = {}
TESTS = {
    "spamtest": Word(
        _spam,
        (Kind.TEXT,),
        tags=tags.MATCH | {"percent": Tag(needs="spamtestplus")},
        needs=("spamtest", "spamtestplus"),
    ),
    "virustest": Word(_virus, (Kind.TEXT,), tags=tags.MATCH, needs=("virustest",)),
}
