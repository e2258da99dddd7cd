"""Refusing a message (RFC 5429)."""

from posthorn_sieve.actions import Reject
from posthorn_sieve.program import Call, Kind, Word
from posthorn_sieve.run import Run


def _reject(run: Run, call: Call) -> None:
    run.act(Reject(run.expand(call.arguments[0]), early=call.name == "ereject"))


COMMANDS = {
    "reject": Word(_reject, (Kind.TEXT,), needs=("reject",)),
    "ereject": Word(_reject, (Kind.TEXT,), needs=("ereject",)),
}
TESTS: dict[str, Word] = {}
