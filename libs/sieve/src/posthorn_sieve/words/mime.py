"""Going through the parts of a message (RFC 5703 3 and 8)."""

from posthorn_mail_format.text import plain_text
from posthorn_sieve.errors import InvalidScript
from posthorn_sieve.letter import Place
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import BreakLoop, Run
from posthorn_sieve.texts import variable_name
from posthorn_sieve.words.variables import MODIFIERS, check_name, modified

MAX_TEXT = 1_048_576


def _for_every_part(run: Run, call: Call) -> None:
    place = run.place
    # A loop inside another one goes through what is below the part at hand (RFC 5703 3.1).
    parts = list(place.part.walk())[1 if run.parts else 0 :]
    depth, outer = run.depth, len(run.parts)
    try:
        for part in parts:
            run.spend(1)
            run.parts.append(Place(part, place.content, place.edits))
            run.block(call.block)
            run.parts.pop()
    except BreakLoop as leave:
        if leave.name and leave.name != call.tags.get("name", ""):
            raise
    finally:
        run.depth = depth
        del run.parts[outer:]


def _break(run: Run, call: Call) -> None:
    raise BreakLoop(call.tags.get("name", ""))


def _check_break(call: Call, scope: Scope) -> None:
    name = call.tags.get("name", "")
    if not scope.loops:
        raise InvalidScript("'break' stands outside of a foreverypart")
    if name and name not in scope.loops:
        raise InvalidScript(f"no foreverypart around is named '{name[:50]}'")


def _extract_text(run: Run, call: Call) -> None:
    place = run.place
    value = plain_text(place.content, place.part, MAX_TEXT) if place.part.type == "text" else ""
    run.spend(1 + len(value) // 4_096)
    first: int | None = call.tags.get("first")
    value = value if first is None else value[:first]
    limits = run.situation.limits
    value = modified(run, call, value[: limits.text_length // 4])
    run.assign(variable_name(call.arguments[0]), value)


def _check_extract(call: Call, scope: Scope) -> None:
    check_name(call, scope)
    if not scope.loops:
        raise InvalidScript("'extracttext' stands outside of a foreverypart")


COMMANDS = {
    "foreverypart": Word(_for_every_part, tags={"name": Tag(Kind.CONSTANT)}, needs=("foreverypart",), block=True),
    "break": Word(_break, tags={"name": Tag(Kind.CONSTANT)}, needs=("foreverypart",), check=_check_break),
    "extracttext": Word(
        _extract_text,
        (Kind.CONSTANT,),
        tags=MODIFIERS | {"first": Tag(Kind.NUMBER)},
        needs=("extracttext",),
        also=("variables",),
        check=_check_extract,
    ),
}
TESTS: dict[str, Word] = {}
