"""Lists of tag=value (RFC 6376 3.2): signatures, keys and DMARC records are such lists."""

import re

MAX_LIST = 16_384
MAX_TAGS = 100
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*\Z")
_SPACE = re.compile(r"[ \t\r\n]+")


class MalformedTags(ValueError):
    """The text is no list of tags; its message says why, in words for a result."""


def parse_tags(raw: bytes) -> dict[str, str]:
    """Return tag to value, white space around both dropped and folds undone, in their order.

    Raises MalformedTags: too long, not ASCII, a name twice, something without "=".
    """
    if len(raw) > MAX_LIST:
        raise MalformedTags("the tag list is too long")
    try:
        text = raw.decode("ascii")
    except UnicodeDecodeError:
        raise MalformedTags("the tag list is not ASCII") from None
    pieces = text.split(";")
    if not pieces[-1].strip():
        pieces.pop()
    if len(pieces) > MAX_TAGS:
        raise MalformedTags("too many tags")
    tags: dict[str, str] = {}
    for piece in pieces:
        name, equals, value = piece.partition("=")
        name = name.strip(" \t\r\n")
        if not equals or not _NAME.match(name):
            raise MalformedTags("syntax error in the tag list")
        if name in tags:
            raise MalformedTags(f"tag {name}= twice")
        tags[name] = value.strip(" \t\r\n")
    return tags


def without_space(value: str) -> str:
    """A value whose white space does not count, such as base64 (RFC 6376 3.2)."""
    return _SPACE.sub("", value)
