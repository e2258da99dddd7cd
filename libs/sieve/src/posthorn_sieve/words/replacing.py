"""Putting other content in the place of a part, or around the message (RFC 5703 5 and 6)."""

import hashlib
import re

from posthorn_mail_format import writing
from posthorn_mail_format.headers import Field, header_end
from posthorn_model.errors import PosthornError
from posthorn_sieve.errors import ScriptFailed
from posthorn_sieve.program import Call, Kind, Tag, Word
from posthorn_sieve.run import Run

_NEW = re.compile(r"([!-9;-~]{1,76})[ \t]*:[ \t]*(.*)\Z", re.DOTALL)
_STRUCTURAL = (b"content-", b"mime-version")
_ENTITY_FIELD = re.compile(rb"Content-[A-Za-z-]+[ \t]*:", re.IGNORECASE)


def _replace(run: Run, call: Call) -> None:
    text = run.expand(call.arguments[0])
    entity = _mime_entity(text) if "mime" in call.tags else _text_entity(text)
    place = run.place
    run.spend(1 + len(run.letter.content) // 10_000)
    if place.part.header_start == 0 and place.part.body_end == len(place.content):
        _replace_whole(run, call, entity)
        return
    where = run.letter.moved(place.part.header_start, place.part.body_end, place.edits)
    if where is not None:
        run.letter.splice(*where, entity)


def _replace_whole(run: Run, call: Call, entity: bytes) -> None:
    """The message keeps its header, but for what describes the content, and what the tags replace."""
    fields = [field for field in run.letter.fields if not field.name.lower().startswith(_STRUCTURAL)]
    new: list[bytes] = []
    for name in ("subject", "from"):
        if name in call.tags:
            new.append(_field(name.capitalize(), run.expand(call.tags[name]), address=name == "from"))
            new += [
                b"Original-" + run.letter.content[field.start : field.end]
                for field in fields
                if field.name.lower() == name.encode()
            ]
            fields = [field for field in fields if field.name.lower() != name.encode()]
    head = b"".join((*_raw(run, fields), *new, b"MIME-Version: 1.0\r\n"))
    run.letter.splice(0, len(run.letter.content), head + entity)


def _raw(run: Run, fields: list[Field]) -> list[bytes]:
    return [run.letter.content[field.start : field.end] for field in fields]


def _field(name: str, value: str, *, address: bool = False) -> bytes:
    try:
        return writing.field(name, value.strip() if address else writing.text_value(value.strip()))
    except PosthornError as error:
        raise ScriptFailed(f"the header field {name} cannot be written: {error.public}") from error


def _text_entity(text: str) -> bytes:
    encoding, body = writing.encode_text(text.encode("utf-8", "replace"))
    return (
        b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: "
        + encoding.encode("ascii")
        + b"\r\n\r\n"
        + body
    )


def _mime_entity(text: str) -> bytes:
    """An entity that the script wrote: header fields, an empty line, the content (RFC 5703 5)."""
    entity = writing.canonical(text.encode("utf-8", "replace"))
    end = header_end(entity, 0, len(entity))
    if not _ENTITY_FIELD.match(entity) or b"\r\n\r\n" not in entity[: end + 2]:
        raise ScriptFailed("with :mime the text begins with Content-* fields and an empty line")
    return entity


def _enclose(run: Run, call: Call) -> None:
    original = run.letter.content
    boundary = b"=_enclosed_" + hashlib.sha256(original).hexdigest()[:32].encode("ascii")
    given = _given(run.expand_all(call.tags.get("headers", ())))
    if "subject" in call.tags:
        given["subject"] = _field("Subject", run.expand(call.tags["subject"]))
    kept = [
        original[field.start : field.end]
        for field in run.letter.fields
        if not field.name.lower().startswith(_STRUCTURAL) and field.name.lower().decode("latin-1") not in given
    ]
    kind = b"message/rfc822" if original[: run.letter.head_end].isascii() else b"message/global"
    encoding = b"7bit" if original.isascii() else b"8bit"
    before = (
        *kept,
        *given.values(),
        b"MIME-Version: 1.0\r\n",
        b'Content-Type: multipart/mixed; boundary="' + boundary + b'"\r\n\r\n--' + boundary + b"\r\n",
        _text_entity(run.expand(call.arguments[0])),
        b"\r\n--" + boundary + b"\r\n",
        b"Content-Type: " + kind + b"\r\nContent-Transfer-Encoding: " + encoding + b"\r\n\r\n",
    )
    run.spend(1 + len(original) // 10_000)
    run.letter.splice(0, 0, b"".join(before))
    run.letter.splice(len(run.letter.content), len(run.letter.content), b"\r\n--" + boundary + b"--\r\n")


def _given(lines: list[str]) -> dict[str, bytes]:
    """Lower-case name to the field, for each "Name: value" of :headers."""
    found: dict[str, bytes] = {}
    for line in lines:
        match = _NEW.match(line)
        if match is None or match[1].lower().startswith(("content-", "mime-version", "received")):
            raise ScriptFailed(f"'{line[:50]}' is not a header field that can be given")
        found[match[1].lower()] = _field(match[1], match[2], address=match[2].isascii())
    return found


COMMANDS = {
    "replace": Word(
        _replace,
        (Kind.TEXT,),
        tags={"mime": Tag(), "subject": Tag(Kind.TEXT), "from": Tag(Kind.TEXT)},
        needs=("replace",),
    ),
    "enclose": Word(
        _enclose,
        (Kind.TEXT,),
        tags={"subject": Tag(Kind.TEXT), "headers": Tag(Kind.TEXTS)},
        needs=("enclose",),
    ),
}
TESTS: dict[str, Word] = {}
