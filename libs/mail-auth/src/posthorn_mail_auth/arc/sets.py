"""The ARC sets of a message as values (RFC 8617 4): which fields belong together, and whether they form a chain."""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_mail_auth.canonical import Form
from posthorn_mail_auth.dkim.signature import (
    InvalidSignature,
    decoded,
    domain_of,
    forms,
    number,
    require,
    selector_of,
    signed_octets,
)
from posthorn_mail_auth.message import Message, RawField
from posthorn_mail_auth.tags import MalformedTags, parse_tags, without_space

SEAL = b"arc-seal"
MESSAGE_SIGNATURE = b"arc-message-signature"
RESULTS = b"arc-authentication-results"
MAX_SETS = 50
"""RFC 8617 4.2.1."""
ALGORITHMS = frozenset({"rsa-sha256", "ed25519-sha256"})
_INSTANCE = re.compile(r"[1-9][0-9]{0,9}\Z")
_RESULTS_START = re.compile(rb"[ \t\r\n]*i[ \t\r\n]*=[ \t\r\n]*([0-9]{1,10})[ \t\r\n]*;")


class BrokenChain(ValueError):
    """The sets form no chain; its message says why, in words for a result."""


@dataclass(frozen=True, slots=True)
class SealTags:
    """An ARC-Seal."""

    domain: str
    selector: str
    algorithm: str
    value: bytes
    validation: str
    """cv=: "none", "pass" or "fail"."""


@dataclass(frozen=True, slots=True)
class SignatureTags:
    """An ARC-Message-Signature."""

    domain: str
    selector: str
    algorithm: str
    value: bytes
    body_hash: bytes
    header_form: Form
    body_form: Form
    fields: tuple[bytes, ...]


@dataclass(frozen=True, slots=True)
class ArcSet:
    """The three fields of one instance."""

    instance: int
    results: RawField
    signature: RawField
    seal: RawField


def sets_of(message: Message) -> Sequence[ArcSet]:
    """The sets from the first to the last, () without any; raises BrokenChain (RFC 8617 5.2 steps 1 and 3)."""
    if not any(field.name in (RESULTS, MESSAGE_SIGNATURE, SEAL) for field in message.fields):
        return ()
    found: dict[bytes, dict[int, RawField]] = {}
    for name, instance_of in ((RESULTS, _results_instance), (MESSAGE_SIGNATURE, _instance), (SEAL, _instance)):
        fields = message.named(name)
        if len(fields) > MAX_SETS:
            raise BrokenChain("too many ARC sets")
        found[name] = {instance_of(field): field for field in fields}
        if len(found[name]) != len(fields):
            raise BrokenChain("an instance twice")
    count = len(found[SEAL])
    instances = list(range(1, count + 1))
    if any(sorted(fields) != instances for fields in found.values()):
        raise BrokenChain("an incomplete set")
    return [ArcSet(each, found[RESULTS][each], found[MESSAGE_SIGNATURE][each], found[SEAL][each]) for each in instances]


def _tags(field: RawField) -> dict[str, str]:
    try:
        return parse_tags(field.value)
    except MalformedTags as error:
        raise BrokenChain(str(error)) from None


def _instance(field: RawField) -> int:
    text = _tags(field).get("i", "")
    if not _INSTANCE.match(text) or int(text) > MAX_SETS:
        raise BrokenChain("bad instance")
    return int(text)


def _results_instance(field: RawField) -> int:
    match = _RESULTS_START.match(field.value)
    if match is None or not 1 <= int(match[1]) <= MAX_SETS:
        raise BrokenChain("bad instance")
    return int(match[1])


def parse_seal(field: RawField) -> SealTags:
    """Read an ARC-Seal (RFC 8617 4.1.3); raises BrokenChain."""
    tags = _tags(field)
    try:
        require(tags, ("a", "b", "cv", "d", "i", "s"))
        number(tags, "t")
        seal = SealTags(domain_of(tags), selector_of(tags), tags["a"], decoded(tags, "b"), tags["cv"])
    except InvalidSignature as error:
        raise BrokenChain(f"seal: {error}") from None
    if "h" in tags or "bh" in tags:
        raise BrokenChain("seal: it signs other fields")
    if seal.validation not in ("none", "pass", "fail"):
        raise BrokenChain("seal: unknown cv")
    if seal.algorithm not in ALGORITHMS:
        raise BrokenChain("seal: unknown algorithm")
    return seal


def parse_message_signature(field: RawField) -> SignatureTags:
    """Read an ARC-Message-Signature (RFC 8617 4.1.2); raises BrokenChain."""
    tags = _tags(field)
    try:
        require(tags, ("a", "b", "bh", "d", "h", "i", "s"))
        number(tags, "t")
        names = tuple(without_space(name).lower().encode() for name in tags["h"].split(":")[:1000])
        # The public vectors take an absent c= as relaxed; RFC 8617 does not say.
        header_form, body_form = forms(tags, "relaxed/relaxed")
        signature = SignatureTags(
            domain_of(tags), selector_of(tags), tags["a"], decoded(tags, "b"), decoded(tags, "bh"),
            header_form, body_form, names,
        )  # fmt: skip
    except InvalidSignature as error:
        raise BrokenChain(f"message signature: {error}") from None
    if SEAL in names:
        raise BrokenChain("message signature: it signs a seal")
    if signature.algorithm not in ALGORITHMS:
        raise BrokenChain("message signature: unknown algorithm")
    return signature


def sealed_octets(sets: Sequence[ArcSet], seal: bytes) -> bytes:
    """What the seal of the last set signs: all fields of all sets, itself without its value (RFC 8617 5.1.1)."""
    fields = [field for each in sets for field in (each.results, each.signature, each.seal)]
    return signed_octets(fields[:-1], seal, Form.RELAXED)
