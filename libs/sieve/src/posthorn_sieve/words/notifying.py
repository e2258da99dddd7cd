"""Notifications (RFC 5435) by mail (RFC 5436)."""

from urllib.parse import unquote

from posthorn_sieve.actions import Notify
from posthorn_sieve.errors import InvalidScript, ScriptFailed
from posthorn_sieve.letter import readable
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags
from posthorn_sieve.words.delivery import address_of
from posthorn_sieve.words.vacations import is_own

MAX_RECIPIENTS = 5
_HEADERS = frozenset({"subject", "body", "keywords", "comments"})
"""What a URI may set; all else it names is left out (RFC 5436 2.3)."""


def read_mailto(uri: str) -> tuple[tuple[str, ...], tuple[tuple[str, str], ...]]:
    """Return (recipients, headers) of a mailto URI (RFC 6068 2). Raises ScriptFailed."""
    scheme, _, rest = uri.partition(":")
    if scheme.lower() != "mailto":
        raise ScriptFailed(f"'{uri[:50]}' is no way to notify: only mailto is")
    path, _, query = rest.partition("?")
    addresses = [unquote(one) for one in path.split(",") if one]
    headers: list[tuple[str, str]] = []
    for pair in query.split("&") if query else ():
        name, _, value = pair.partition("=")
        name, value = unquote(name).lower(), unquote(value)
        if name == "to":
            addresses += [one for one in value.split(",") if one]
        elif name in _HEADERS:
            headers.append((name, value))
    if not 0 < len(addresses) <= MAX_RECIPIENTS:
        raise ScriptFailed(f"a mailto names one to {MAX_RECIPIENTS} addresses")
    return tuple(dict.fromkeys(map(address_of, addresses))), tuple(headers)


def _notify(run: Run, call: Call) -> None:
    recipients, headers = read_mailto(run.expand(call.arguments[0]))
    for field in run.letter.fields:
        # RFC 5436 2.7.1: nothing that was sent by itself is notified of, or two of us would never end.
        if field.name.lower() == b"auto-submitted" and readable(field).split(";")[0].strip().lower() != "no":
            return
    sender = run.expand(call.tags.get("from", ""))
    own = run.situation.addresses | {run.situation.recipient.lower()}
    importance = run.expand(call.tags.get("importance", "2"))
    if importance not in ("1", "2", "3"):
        raise ScriptFailed("':importance' is 1, 2 or 3")
    action = Notify(
        recipients=recipients,
        sender=sender if is_own(sender, own) else "",
        message=run.expand(call.tags.get("message", "")),
        importance=importance,
        headers=headers,
    )
    run.act(action, keeps=True)


def _valid(run: Run, call: Call) -> bool:
    for uri in run.expand_all(call.arguments[0]):
        try:
            read_mailto(uri)
        except ScriptFailed:
            return False
    return True


def _capability(run: Run, call: Call) -> bool:
    uri, capability, keys = call.arguments
    try:
        read_mailto(run.expand(uri))
    except ScriptFailed:
        return False
    # RFC 5436 2.6: nobody knows whether a reader of mail is there.
    return run.expand(capability).lower() == "online" and run.matches(call, ["maybe"], keys)


def _check(call: Call, scope: Scope) -> None:
    if isinstance(call.arguments[0], str):
        try:
            read_mailto(call.arguments[0])
        except ScriptFailed as error:
            raise InvalidScript(error.problem) from error
    importance = call.tags.get("importance", "2")
    if isinstance(importance, str) and importance not in ("1", "2", "3"):
        raise InvalidScript("':importance' is 1, 2 or 3")


COMMANDS = {
    "notify": Word(
        _notify,
        (Kind.TEXT,),
        tags={
            "from": Tag(Kind.TEXT),
            "importance": Tag(Kind.TEXT),
            "options": Tag(Kind.TEXTS),
            "message": Tag(Kind.TEXT),
        },
        needs=("enotify",),
        check=_check,
    )
}
TESTS = {
    "valid_notify_method": Word(_valid, (Kind.TEXTS,), needs=("enotify",)),
    "notify_method_capability": Word(
        _capability, (Kind.TEXT, Kind.TEXT, Kind.TEXTS), tags=tags.MATCH, needs=("enotify",)
    ),
}
