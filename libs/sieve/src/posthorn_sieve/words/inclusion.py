"""Scripts in scripts (RFC 6609). They are looked up before the run; a chain of them is bounded."""

from posthorn_sieve.errors import InvalidScript, LimitReached, ScriptFailed
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Names, ReturnScript, Run
from posthorn_sieve.texts import NAME

MAX_NAME = 128


def location(call: Call) -> str:
    return "global" if "global" in call.tags else "personal"


def _include(run: Run, call: Call) -> None:
    key = (location(call), call.arguments[0])
    script = run.situation.scripts.get(key)
    if script is None:
        if "optional" in call.tags:
            return
        raise ScriptFailed(f"there is no {key[0]} script '{key[1]}', or it is not valid")
    if "once" in call.tags and key in run.included:
        return
    if run.chain >= run.situation.limits.includes:
        raise LimitReached(f"scripts include each other more than {run.situation.limits.includes} deep")
    run.included.add(key)
    outer, names, depth = run.script, run.names, run.depth
    run.script, run.names, run.chain = script, Names(), run.chain + 1
    try:
        run.block(script.block)
    except ReturnScript:
        pass
    finally:
        run.script, run.names, run.depth, run.chain = outer, names, depth, run.chain - 1


def _check_include(call: Call, scope: Scope) -> None:
    name = call.arguments[0]
    if not name or len(name) > MAX_NAME or not name.isprintable() or "/" in name:
        raise InvalidScript("that is not the name of a script")
    scope.includes.add((location(call), name))


def _return(run: Run, call: Call) -> None:
    raise ReturnScript


def _global(run: Run, call: Call) -> None:
    for name in call.arguments[0]:
        run.names.shared.add(name.lower())


def _check_global(call: Call, scope: Scope) -> None:
    for name in call.arguments[0]:
        if not NAME.match(name):
            raise InvalidScript(f"'{name[:50]}' is not the name of a variable")


COMMANDS = {
    "include": Word(
        _include,
        (Kind.CONSTANT,),
        tags={
            "personal": Tag(group="location"),
            "global": Tag(group="location"),
            "once": Tag(),
            "optional": Tag(),
        },
        needs=("include",),
        check=_check_include,
    ),
    "return": Word(_return, needs=("include",)),
    "global": Word(_global, (Kind.CONSTANTS,), needs=("include",), also=("variables",), check=_check_global),
}
TESTS: dict[str, Word] = {}
