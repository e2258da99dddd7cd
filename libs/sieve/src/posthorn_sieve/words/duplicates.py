"""Whether the like of a message came before (RFC 7352)."""

import hashlib

from posthorn_sieve.errors import InvalidScript
from posthorn_sieve.letter import readable
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words.headers import named

DEFAULT_SECONDS = 7 * 86_400
MAX_SECONDS = 90 * 86_400


def _duplicate(run: Run, call: Call) -> bool:
    if "uniqueid" in call.tags:
        value = run.expand(call.tags["uniqueid"])
    else:
        name = run.expand(call.tags.get("header", "Message-ID"))
        value = next((readable(field) for field in named(run, call, (name,))), "")
    if not value:
        # Nothing to know it by: RFC 7352 3.
        return False
    handle = run.expand(call.tags.get("handle", ""))
    digest = hashlib.sha256()
    for text in (handle, value):
        raw = text.encode("utf-8", "surrogateescape")
        digest.update(len(raw).to_bytes(4, "big") + raw)
    key = digest.digest()
    if key in run.remember:
        # Asked before in this very run: it is the same message (RFC 7352 3.1).
        return run.seen(key)
    seen = run.seen(key)
    seconds = min(call.tags.get("seconds", DEFAULT_SECONDS), MAX_SECONDS)
    if seconds and (not seen or "last" in call.tags):
        run.remember[key] = seconds
    return seen


def _check(call: Call, scope: Scope) -> None:
    if "header" in call.tags and "uniqueid" in call.tags:
        raise InvalidScript("':header' excludes ':uniqueid'")


COMMANDS: dict[str, Word] = {}
TESTS = {
    "duplicate": Word(
        _duplicate,
        tags={
            "handle": Tag(Kind.TEXT),
            "header": Tag(Kind.TEXT),
            "uniqueid": Tag(Kind.TEXT),
            "seconds": Tag(Kind.NUMBER),
            "last": Tag(),
        },
        needs=("duplicate",),
        check=_check,
    )
}
