"""What header and envelope say (RFC 5228 5; RFC 5233, RFC 5260 6, RFC 5703 4)."""

import re
from collections.abc import Iterator, Sequence

from posthorn_mail_format import Part
from posthorn_mail_format.addresses import Address, flatten, parse_addresses
from posthorn_mail_format.headers import Field, text
from posthorn_mail_format.parameters import decode_parameters, parse_value
from posthorn_sieve.errors import InvalidScript
from posthorn_sieve.letter import readable
from posthorn_sieve.program import Call, Kind, Scope, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags

_NAME = re.compile(r"[!-9;-~]+\Z")
_ADDRESSES = frozenset(
    {
        "apparently-to", "author", "bcc", "cc", "delivered-to", "disposition-notification-to", "envelope-to",
        "errors-to", "from", "mail-followup-to", "mail-reply-to", "reply-to", "resent-bcc", "resent-cc", "resent-from",
        "resent-reply-to", "resent-sender", "resent-to", "return-path", "return-receipt-to", "sender", "to",
    }
)  # fmt: skip


def named(run: Run, call: Call, names: Sequence[str]) -> Iterator[Field]:
    """The fields of these names, in the order of the names and then of the message; with :index only one of each."""
    headers = list(_headers(run, call))
    for name in names:
        run.spend(1)
        wanted = name.lower().encode("utf-8", "replace")
        for header in headers:
            run.spend(len(header) // 100)
            found = [field for field in header if field.name.lower() == wanted]
            yield from indexed(call, found)


def indexed(call: Call, found: Sequence[Field]) -> Sequence[Field]:
    """The one that :index and :last ask for, counted from 1 (RFC 5260 6)."""
    index: int | None = call.tags.get("index")
    if index is None:
        return found
    if not 0 < index <= len(found):
        return ()
    return (found[-index] if "last" in call.tags else found[index - 1],)


def _headers(run: Run, call: Call) -> Iterator[Sequence[Field]]:
    """The headers to look in: of the message, or with :mime of the part at hand and its children."""
    if "mime" not in call.tags:
        yield run.letter.fields
        return
    place = run.place
    parts: Iterator[Part] = place.part.walk() if "anychild" in call.tags else iter((place.part,))
    for one in parts:
        run.spend(1)
        yield place.header(one)


def _header(run: Run, call: Call) -> bool:
    names = run.expand_all(call.arguments[0])
    values: list[str] = []
    for field in named(run, call, names):
        values += _pieces(run, call, field)
    return run.matches(call, values, call.arguments[1])


def _pieces(run: Run, call: Call, field: Field) -> Sequence[str]:
    """The value of a field, or the piece of it that a tag asks for (RFC 5703 4.1)."""
    wanted = next((tag for tag in tags.MIME_PART if tag in call.tags), None)
    if wanted is None:
        return (readable(field),)
    value, raw = parse_value(text(field.value))
    if wanted == "param":
        parameters = decode_parameters(raw)
        names = [name.lower() for name in run.expand_all(call.tags["param"])]
        return [parameters[name] for name in names if name in parameters]
    kind, _, subtype = value.partition("/")
    return ({"type": kind, "subtype": subtype, "contenttype": value}[wanted],)


def _exists(run: Run, call: Call) -> bool:
    names = run.expand_all(call.arguments[0])
    return all(any(True for _ in named(run, call, (name,))) for name in names)


def _address(run: Run, call: Call) -> bool:
    names = [name for name in run.expand_all(call.arguments[0]) if _may_hold_addresses(name)]
    values: list[str] = []
    for field in named(run, call, names):
        found = flatten(parse_addresses(field.value))
        run.spend(len(found) // 10)
        if not found and "index" not in call.tags and (whole := readable(field)):
            found = (Address(None, whole, ""),)
        for address in found:
            values += part_of(run, call, address)
    return run.matches(call, values, call.arguments[1])


def part_of(run: Run, call: Call, address: Address) -> Sequence[str]:
    """The part of an address that the tag asks for; nothing where it has none (RFC 5228 2.7.4, RFC 5233 4)."""
    wanted = next((tag for tag in tags.ADDRESS_PART if tag in call.tags), "all")
    if wanted == "all":
        return (address.email,)
    if not address.mailbox or not address.host:
        return ()
    if wanted == "domain":
        return (address.host,)
    if wanted == "localpart":
        return (address.mailbox,)
    local, separators = address.mailbox, run.situation.separators
    place = next((place for place, letter in enumerate(local) if place and letter in separators), None)
    if wanted == "user":
        return (local[:place],)
    return () if place is None else (local[place + 1 :],)


def _envelope(run: Run, call: Call) -> bool:
    situation = run.situation
    values: list[str] = []
    for name in run.expand_all(call.arguments[0]):
        match name.lower():
            case "from":
                path = situation.sender
            case "to":
                path = situation.recipient
            case "auth":
                path = situation.login
                if not path:
                    continue
            case _:
                continue
        local, at, domain = path.rpartition("@")
        values += part_of(run, call, Address(None, local if at else path, domain if at else ""))
    return run.matches(call, values, call.arguments[1])


def _size(run: Run, call: Call) -> bool:
    size = len(run.letter.content)
    over: int | None = call.tags.get("over")
    under: int = call.tags.get("under", 0)
    return size < under if over is None else size > over


def _check_size(call: Call, scope: Scope) -> None:
    if "over" not in call.tags and "under" not in call.tags:
        raise InvalidScript("'size' takes :over or :under")


def _may_hold_addresses(name: str) -> bool:
    return name.lower() in _ADDRESSES or name.lower().startswith("x-")


def check_names(call: Call, scope: Scope) -> None:
    """Header field names that are constants are names (RFC 5228 2.4.2.2)."""
    for name in call.arguments[0] if isinstance(call.arguments[0], tuple) else (call.arguments[0],):
        if isinstance(name, str) and not _NAME.match(name):
            raise InvalidScript(f"'{name[:50]}' is not the name of a header field")
    if "last" in call.tags and "index" not in call.tags:
        raise InvalidScript("':last' goes with ':index'")
    if "mime" not in call.tags and any(tag in call.tags for tag in ("anychild", *tags.MIME_PART)):
        raise InvalidScript("':anychild', ':type', ':subtype', ':contenttype' and ':param' go with ':mime'")


def _check_address(call: Call, scope: Scope) -> None:
    check_names(call, scope)
    for name in call.arguments[0]:
        if isinstance(name, str) and not _may_hold_addresses(name):
            raise InvalidScript(f"the header field '{name[:50]}' holds no addresses")


def _check_envelope(call: Call, scope: Scope) -> None:
    for name in call.arguments[0]:
        if isinstance(name, str) and name.lower() not in ("from", "to", "auth"):
            raise InvalidScript(f"the envelope has no part '{name[:50]}', only from, to and auth")


_TWO = (Kind.TEXTS, Kind.TEXTS)
COMMANDS: dict[str, Word] = {}
TESTS = {
    "header": Word(_header, _TWO, tags=tags.MATCH | tags.INDEX | tags.MIME | tags.MIME_PART, check=check_names),
    "address": Word(_address, _TWO, tags=tags.MATCH | tags.ADDRESS_PART | tags.INDEX | tags.MIME, check=_check_address),
    "exists": Word(_exists, (Kind.TEXTS,), tags=tags.MIME, check=check_names),
    "envelope": Word(_envelope, _TWO, tags=tags.MATCH | tags.ADDRESS_PART, needs=("envelope",), check=_check_envelope),
    "size": Word(
        _size,
        tags={"over": Tag(Kind.NUMBER, group="size"), "under": Tag(Kind.NUMBER, group="size")},
        check=_check_size,
    ),
}
