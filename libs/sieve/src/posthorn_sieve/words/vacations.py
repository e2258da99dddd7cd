"""Answering while away (RFC 5230, RFC 6131). Whether the sender was answered lately is not known here."""

import hashlib
import re

from posthorn_mail_format.addresses import flatten, parse_addresses
from posthorn_sieve.actions import Vacation
from posthorn_sieve.errors import InvalidScript
from posthorn_sieve.letter import readable
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Run

DAY = 86_400
DEFAULT_DAYS = 7
MAX_DAYS = 365
_MACHINES = re.compile(
    r"(?:owner-.*|.*-(?:request|owner|bounces?)|mailer-daemon|daemon|listserv|majordomo|postmaster|no-?reply"
    r"|do-?not-?reply|bounces?(?:[+=-].*)?)@",
    re.IGNORECASE | re.DOTALL,
)
_RECIPIENTS = ("to", "cc", "bcc", "resent-to", "resent-cc", "resent-bcc")
_BULK = frozenset({"bulk", "list", "junk"})


def _vacation(run: Run, call: Call) -> None:
    reason = run.expand(call.arguments[0])
    subject = run.expand(call.tags.get("subject", ""))
    sender = run.expand(call.tags.get("from", ""))
    mime = "mime" in call.tags
    own = run.situation.addresses | {run.situation.recipient.lower()}
    named = own | {address.lower() for address in run.expand_all(call.tags.get("addresses", ()))}
    texts: tuple[str, ...]
    if "handle" in call.tags:
        texts = ("handle", run.expand(call.tags["handle"]))
    else:
        texts = (subject, sender, str(mime), reason)
    digest = hashlib.sha256("\0".join(texts).encode("utf-8", "surrogateescape")).digest()
    if not may_answer(run, named):
        return
    action = Vacation(
        recipient=run.situation.sender,
        sender=sender if is_own(sender, own) else "",
        subject=subject,
        reason=reason,
        mime=mime,
        handle=digest,
        seconds=_seconds(call),
    )
    run.act(action, keeps=True)


def _seconds(call: Call) -> int:
    if "seconds" in call.tags:
        seconds: int = call.tags["seconds"]
        return min(seconds, MAX_DAYS * DAY)
    days: int = call.tags.get("days", DEFAULT_DAYS)
    # RFC 5230 4.1: at least a day.
    return min(max(days, 1), MAX_DAYS) * DAY


def is_own(sender: str, own: frozenset[str]) -> bool:
    """Nobody answers in another's name: an address that is not the owner's is not used."""
    found = flatten(parse_addresses(sender.encode("utf-8", "replace")))
    return len(found) == 1 and found[0].email.lower() in own


def may_answer(run: Run, named: frozenset[str]) -> bool:
    """Whether a person wrote to this very person (RFC 5230 4.5 and 4.6, RFC 3834 2)."""
    sender = run.situation.sender
    if not sender or "@" not in sender or _MACHINES.match(sender) or sender.lower() in named:
        return False
    mentioned = False
    for field in run.letter.fields:
        name = field.name.lower().decode("latin-1")
        if name.startswith("list-"):
            return False
        if name == "auto-submitted" and readable(field).split(";")[0].strip().lower() != "no":
            return False
        if name == "precedence" and readable(field).lower() in _BULK:
            return False
        if name == "x-auto-response-suppress" and {"all", "oof", "autoreply"} & set(
            re.split(r"[,\s]+", readable(field).lower())
        ):
            return False
        if name in _RECIPIENTS and not mentioned:
            addresses = flatten(parse_addresses(field.value))
            run.spend(len(addresses) // 10)
            mentioned = any(address.email.lower() in named for address in addresses)
    return mentioned


def _check(call: Call, scope: Scope) -> None:
    text = call.arguments[0]
    if "mime" in call.tags and isinstance(text, str) and not re.match(r"Content-[A-Za-z-]+[ \t]*:", text, re.I):
        raise InvalidScript("with ':mime' the reason begins with Content-* fields")


COMMANDS = {
    "vacation": Word(
        _vacation,
        (Kind.TEXT,),
        tags={
            "days": Tag(Kind.NUMBER, group="time"),
            "seconds": Tag(Kind.NUMBER, needs="vacation-seconds", group="time"),
            "subject": Tag(Kind.TEXT),
            "from": Tag(Kind.TEXT),
            "addresses": Tag(Kind.TEXTS),
            "mime": Tag(),
            "handle": Tag(Kind.TEXT),
        },
        needs=("vacation",),
        check=_check,
    )
}
TESTS: dict[str, Word] = {}
