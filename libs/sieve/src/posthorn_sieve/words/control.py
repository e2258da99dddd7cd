"""Control of what is run (RFC 5228 3 and 5), and asking what there is (RFC 5463)."""

from posthorn_sieve.capabilities import EXTENSIONS
from posthorn_sieve.errors import ScriptFailed
from posthorn_sieve.program import Call, Kind, Tests, Word
from posthorn_sieve.run import Run, StopScript


def _block(run: Run, call: Call) -> None:
    run.block(call.block)


def _stop(run: Run, call: Call) -> None:
    raise StopScript


def _error(run: Run, call: Call) -> None:
    raise ScriptFailed(run.expand(call.arguments[0])[:500], call.line, call.column)


def _all_of(run: Run, call: Call) -> bool:
    return all(run.test(test) for test in call.tests)


def _any_of(run: Run, call: Call) -> bool:
    return any(run.test(test) for test in call.tests)


def _not(run: Run, call: Call) -> bool:
    return not run.test(call.tests[0])


def _true(run: Run, call: Call) -> bool:
    return True


def _false(run: Run, call: Call) -> bool:
    return False


def _ihave(run: Run, call: Call) -> bool:
    return EXTENSIONS.issuperset(call.arguments[0])


COMMANDS = {
    "if": Word(_block, tests=Tests.ONE, block=True),
    "elsif": Word(_block, tests=Tests.ONE, block=True),
    "else": Word(_block, block=True),
    "stop": Word(_stop),
    "error": Word(_error, (Kind.TEXT,), needs=("ihave",)),
}
TESTS = {
    "allof": Word(_all_of, tests=Tests.SEVERAL),
    "anyof": Word(_any_of, tests=Tests.SEVERAL),
    "not": Word(_not, tests=Tests.ONE),
    "true": Word(_true),
    "false": Word(_false),
    "ihave": Word(_ihave, (Kind.CONSTANTS,), needs=("ihave",)),
}
