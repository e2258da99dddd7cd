"""Where the script runs (RFC 5183)."""

from posthorn_sieve.program import Call, Kind, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags


def _environment(run: Run, call: Call) -> bool:
    value = run.situation.environment.get(run.expand(call.arguments[0]).lower())
    # An item that is not known matches nothing, not even the empty string (RFC 5183 4).
    return value is not None and run.matches(call, [value], call.arguments[1])


COMMANDS: dict[str, Word] = {}
TESTS = {"environment": Word(_environment, (Kind.TEXT, Kind.TEXTS), tags=tags.MATCH, needs=("environment",))}
