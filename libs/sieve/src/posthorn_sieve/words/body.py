"""What the body says (RFC 5173). Its wildcards set no variables (section 6)."""

from collections.abc import Iterator

from posthorn_mail_format import Part
from posthorn_mail_format.charsets import decode
from posthorn_mail_format.text import decode_text, plain_text
from posthorn_sieve.letter import leaves
from posthorn_sieve.matching import any_matches
from posthorn_sieve.program import Call, Kind, Tag, Word
from posthorn_sieve.run import Run
from posthorn_sieve.words import tags

MAX_TEXT = 1_048_576
"""Octets of one part, or of a raw body, that are looked at."""
_OCTETS_PER_STEP = 4_096


def _body(run: Run, call: Call) -> bool:
    return any_matches(
        call.match,
        _texts(run, call),
        run.expand_all(call.arguments[0]),
        limits=run.situation.limits,
        spend=run.spend,
        bind=lambda _: None,
    )


def _texts(run: Run, call: Call) -> Iterator[str]:
    content, root = run.letter.content, run.letter.root
    if "raw" in call.tags:
        start = run.letter.head_end
        yield _counted(run, decode(content[start : start + MAX_TEXT], None))
        return
    if "content" not in call.tags:
        for part in leaves(root):
            if part.type == "text":
                yield _counted(run, plain_text(content, part, MAX_TEXT))
        return
    wanted = [text.lower() for text in run.expand_all(call.tags["content"])]
    for part in root.walk():
        run.spend(1)
        if any(_is_of(part, text) for text in wanted):
            yield _counted(run, _content(content, part))


def _counted(run: Run, text: str) -> str:
    run.spend(len(text) // _OCTETS_PER_STEP)
    return text


def _is_of(part: Part, wanted: str) -> bool:
    """RFC 5173 5.2: "" is any type, a type without "/" all of its subtypes; what is no type is none."""
    if not wanted:
        return True
    if wanted.count("/") > 1 or wanted.startswith("/") or wanted.endswith("/"):
        return False
    return wanted in (part.type, part.media_type)


def _content(content: bytes, part: Part) -> str:
    """A multipart is what stands around its parts, a message its header (RFC 5173 5.2)."""
    if part.children:
        around = content[part.body_start : part.children[0].header_start]
        last = content[part.children[-1].body_end : part.body_end]
        return decode((around + last)[:MAX_TEXT], None)
    if part.message is not None:
        header = content[part.message.header_start : part.message.body_start]
        return decode(header[:MAX_TEXT], None)
    return decode_text(content, part, MAX_TEXT)


COMMANDS: dict[str, Word] = {}
TESTS = {
    "body": Word(
        _body,
        (Kind.TEXTS,),
        tags=tags.MATCH
        | {
            "raw": Tag(group="transform"),
            "content": Tag(Kind.TEXTS, group="transform"),
            "text": Tag(group="transform"),
        },
        needs=("body",),
    )
}
