"""A DKIM-Signature field as a value (RFC 6376 3.5), and the octets that it signs (3.7)."""

import base64
import binascii
import re
from collections.abc import Collection, Iterable
from typing import NamedTuple

from posthorn_mail_auth.canonical import Form, header_field
from posthorn_mail_auth.message import Message, RawField
from posthorn_mail_auth.tags import MalformedTags, parse_tags, without_space

MAX_SIGNED_FIELDS = 1000
FIELD = b"dkim-signature"
_NUMBER = re.compile(r"[0-9]{1,76}\Z")
_DOMAIN = re.compile(r"(?=.{1,253}\Z)(?:[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,61}[A-Za-z0-9_])?\.)+[A-Za-z0-9-]{1,63}\Z")
_SELECTOR = re.compile(
    r"(?=.{1,253}\Z)[A-Za-z0-9_](?:[A-Za-z0-9_-]{0,62})(?:\.[A-Za-z0-9_][A-Za-z0-9_-]{0,62}){0,20}\Z"
)
_FIELD_NAMES = re.compile(r"[!-9;-~]{1,998}(?::[!-9;-~]{1,998})*\Z")
# The tag b= of a field's value; its octets do not sign themselves.
_SIGNATURE_VALUE = re.compile(rb"(?:\A|;)[ \t\r\n]{0,998}b[ \t\r\n]{0,998}=([^;]*)")


class InvalidSignature(ValueError):
    """The field is no usable signature; its message says why, in words for a result."""


class Signature(NamedTuple):
    """What a signature claims."""

    domain: str
    selector: str
    identity: str
    """i=, by default "@" and the domain."""
    algorithm: str
    """As written in lower case, such as "rsa-sha256"."""
    value: bytes
    body_hash: bytes
    header_form: Form
    body_form: Form
    fields: tuple[bytes, ...]
    """h= in lower case."""
    length: int | None
    """l=: how many octets of the canonical body are signed."""
    signed_at: int | None
    expires_at: int | None


def parse_signature(value: bytes) -> Signature:
    """Read the value of a DKIM-Signature field; raises InvalidSignature."""
    try:
        tags = parse_tags(value)
    except MalformedTags as error:
        raise InvalidSignature(str(error)) from None
    require(tags, ("v", "a", "b", "bh", "d", "h", "s"))
    if tags["v"] != "1":
        raise InvalidSignature("unknown version")
    domain = domain_of(tags)
    header_form, body_form = forms(tags)
    signature = Signature(
        domain=domain,
        selector=selector_of(tags),
        identity=_identity(tags.get("i"), domain),
        algorithm=tags["a"].lower(),
        value=decoded(tags, "b"),
        body_hash=decoded(tags, "bh"),
        header_form=header_form,
        body_form=body_form,
        fields=signed_fields(tags),
        length=number(tags, "l"),
        signed_at=number(tags, "t"),
        expires_at=number(tags, "x"),
    )
    if "q" in tags and "dns/txt" not in [method.strip().lower() for method in tags["q"].split(":")]:
        raise InvalidSignature("no known query method")
    if b"from" not in signature.fields:
        raise InvalidSignature("From is not signed")
    if None not in (signature.signed_at, signature.expires_at) and signature.expires_at <= signature.signed_at:  # type: ignore[operator]
        raise InvalidSignature("it expires before it was made")
    return signature


def require(tags: Collection[str], names: Iterable[str]) -> None:
    """Raises InvalidSignature for a tag that is absent."""
    for name in names:
        if name not in tags:
            raise InvalidSignature(f"tag {name}= is missing")


def domain_of(tags: dict[str, str]) -> str:
    """d=, in lower case."""
    if not _DOMAIN.match(tags["d"]):
        raise InvalidSignature("bad domain")
    return tags["d"].lower()


def selector_of(tags: dict[str, str]) -> str:
    """s=."""
    if not _SELECTOR.match(tags["s"]):
        raise InvalidSignature("bad selector")
    return tags["s"].lower()


def decoded(tags: dict[str, str], name: str) -> bytes:
    """A tag in base64."""
    try:
        value = base64.b64decode(without_space(tags[name]), validate=True)
    except binascii.Error:
        value = b""
    if not value:
        raise InvalidSignature(f"tag {name}= is not base64")
    return value


def number(tags: dict[str, str], name: str) -> int | None:
    """A tag that is a number, None when it is absent."""
    if name not in tags:
        return None
    if not _NUMBER.match(tags[name]):
        raise InvalidSignature(f"tag {name}= is not a number")
    return int(tags[name])


def forms(tags: dict[str, str], default: str = "simple/simple") -> tuple[Form, Form]:
    """c=: the forms of header and body; a body that is not named is simple (RFC 6376 3.5)."""
    header, _, body = tags.get("c", default).lower().partition("/")
    try:
        return Form(header.strip()), Form(body.strip() or "simple")
    except ValueError:
        raise InvalidSignature("unknown canonicalization") from None


def signed_fields(tags: dict[str, str]) -> tuple[bytes, ...]:
    """h=, in lower case."""
    names = without_space(tags["h"]).lower()
    if not _FIELD_NAMES.match(names):
        raise InvalidSignature("bad list of signed fields")
    if names.count(":") >= MAX_SIGNED_FIELDS:
        raise InvalidSignature("too many signed fields")
    return tuple(names.encode("ascii").split(b":"))


def _identity(text: str | None, domain: str) -> str:
    if text is None:
        return f"@{domain}"
    identity = without_space(text)
    host = identity.rpartition("@")[2].lower()
    if "@" not in identity or (host != domain and not host.endswith(f".{domain}")):
        raise InvalidSignature("the identity is not of the domain")
    return identity.rpartition("@")[0] + "@" + host


def choose(message: Message, names: Iterable[bytes]) -> list[RawField]:
    """The fields that h= means: of each name the last one not yet taken; absent ones are nothing (RFC 6376 5.4.2)."""
    left: dict[bytes, list[RawField]] = {}
    for field in message.fields:
        left.setdefault(field.name, []).append(field)
    return [left[name].pop() for name in names if left.get(name)]


def signed_octets(fields: Iterable[RawField], signature: bytes, form: Form) -> bytes:
    """What the header signature covers: the fields, then the signature's own field without the value of b=.

    `signature` is the whole field; its last CRLF is not signed (RFC 6376 3.7).
    """
    covered = b"".join(header_field(field.raw, form) for field in fields)
    return covered + header_field(without_value(signature), form).removesuffix(b"\r\n")


def without_value(raw: bytes) -> bytes:
    """A signature field with nothing behind b=."""
    name, colon, value = raw.partition(b":")
    found = _SIGNATURE_VALUE.search(value)
    if found is None:
        return raw
    # White space at the end of the value goes with it, but not the line end of the field.
    rest = value[found.end(1) :]
    ended = rest or (b"\r\n" if value.endswith(b"\r\n") else b"")
    return name + colon + value[: found.start(1)] + ended
