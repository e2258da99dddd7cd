"""Changing the header (RFC 5293). Tests and actions after it see the change."""

import re

from posthorn_mail_format import writing
from posthorn_model.errors import InvalidContent
from posthorn_sieve.errors import InvalidScript, ScriptFailed
from posthorn_sieve.letter import readable
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags

_NAME = re.compile(r"[!-9;-~]{1,76}\Z")
_PROTECTED = frozenset({"received", "auto-submitted", "return-path", "delivered-to"})
"""What loops are known by (RFC 5293 4): never deleted, and not added either but Auto-Submitted."""
_ADDABLE = frozenset({"auto-submitted"})


def _add(run: Run, call: Call) -> None:
    name, text = (run.expand(argument) for argument in call.arguments)
    if not _NAME.match(name):
        raise ScriptFailed(f"'{name[:50]}' is not the name of a header field")
    if name.lower() in _PROTECTED - _ADDABLE:
        return
    try:
        field = writing.field(name, writing.text_value(text.strip(" \t")))
    except InvalidContent as error:
        raise ScriptFailed(f"the header field cannot be written: {error.public}") from error
    fields = run.letter.fields
    start = fields[-1].end if "last" in call.tags and fields else fields[0].start if fields else 0
    if start and not run.letter.content.startswith(b"\n", start - 1):
        field = b"\r\n" + field
    run.spend(len(run.letter.content) // 10_000)
    run.letter.splice(start, start, field)


def _delete(run: Run, call: Call) -> None:
    name, keys = run.expand(call.arguments[0]), call.arguments[1]
    if not _NAME.match(name):
        raise ScriptFailed(f"'{name[:50]}' is not the name of a header field")
    if name.lower() in _PROTECTED:
        return
    wanted = name.lower().encode()
    found = [field for field in run.letter.fields if field.name.lower() == wanted]
    index: int | None = call.tags.get("index")
    if index is not None:
        found = ([*reversed(found)] if "last" in call.tags else found)[index - 1 : index] if index > 0 else []
    if keys is not None and call.match.type.value != "count":
        found = [field for field in found if run.matches(call, [readable(field)], keys)]
    elif keys is not None and not run.matches(call, [readable(field) for field in found], keys):
        return
    for field in sorted(found, key=lambda field: field.start, reverse=True):
        run.spend(1 + len(run.letter.content) // 10_000)
        run.letter.splice(field.start, field.end, b"")


def _check(call: Call, scope: Scope) -> None:
    name = call.arguments[0]
    if isinstance(name, str) and not _NAME.match(name):
        raise InvalidScript(f"'{name[:50]}' is not the name of a header field")
    if call.name == "deleteheader" and "last" in call.tags and "index" not in call.tags:
        raise InvalidScript("':last' goes with ':index'")


COMMANDS = {
    "addheader": Word(_add, (Kind.TEXT, Kind.TEXT), tags={"last": Tag()}, needs=("editheader",), check=_check),
    "deleteheader": Word(
        _delete,
        (Kind.TEXT, Kind.TEXTS),
        tags=tags.MATCH | {"index": Tag(Kind.NUMBER), "last": Tag()},
        needs=("editheader",),
        trailing=1,
        check=_check,
    ),
}
TESTS: dict[str, Word] = {}
