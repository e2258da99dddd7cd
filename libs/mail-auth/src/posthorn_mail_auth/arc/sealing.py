"""Adds our ARC set to a message that is passed on (RFC 8617 5.1): what we found of it, and a seal over the chain."""

import base64
import re
from collections.abc import Sequence

from posthorn_mail_auth.arc.sets import MAX_SETS, BrokenChain, parse_seal, sealed_octets, sets_of
from posthorn_mail_auth.arc.sets import ArcSet as Set
from posthorn_mail_auth.canonical import BodyHash, Form
from posthorn_mail_auth.dkim.signature import choose, signed_octets
from posthorn_mail_auth.dkim.signing import SIGNED, SigningKey, folded, write_tags
from posthorn_mail_auth.message import Message, RawField, split
from posthorn_mail_auth.results import FIELD, authserv_id_of
from posthorn_mail_format.headers import unfold

_VERDICT = re.compile(rb"arc[ \t]*=[ \t]*(none|pass|fail)\b")
_ID = re.compile(rb"[^;]*;?")
MAX_RESULTS = 50


def seal(
    content: bytes,
    key: SigningKey,
    *,
    authserv_id: str,
    at: int,
    fields: Sequence[bytes] = (*SIGNED, b"dkim-signature"),
) -> bytes:
    """Return the three fields of a new set, to stand in front of the message, their line ends included.

    What was found when the message came in is taken from its Authentication-Results fields by `authserv_id`, among it
    the state of the chain (arc=). Returns b"" when nothing may be added: no arc= is there, the chain is broken in a
    way that leaves no number, it has failed already, or it is full. `at` is in seconds since 1970.
    """
    message = split(content)
    found = _results(message, authserv_id)
    verdict = next((match[1] for result in found if (match := _VERDICT.match(result))), None)
    try:
        sets = list(sets_of(message))
        failed = bool(sets) and parse_seal(sets[-1].seal).validation == "fail"
    except BrokenChain:
        return b""
    if verdict is None or failed or len(sets) >= MAX_SETS or (verdict == b"none") is bool(sets):
        return b""
    instance = len(sets) + 1
    results = _field(b"ARC-Authentication-Results: i=%d; %s" % (instance, authserv_id.encode()), found)
    signature = _message_signature(message, key, instance, at, fields)
    unsealed = write_tags(
        b"ARC-Seal:",
        [
            b"a=" + key.algorithm.encode(),
            b"b=",
            b"cv=" + verdict,
            b"d=" + key.domain.encode("ascii"),
            b"i=%d" % instance,
            b"s=" + key.selector.encode("ascii"),
            b"t=%d" % at,
        ],
    )
    mine = Set(
        instance,
        RawField(b"arc-authentication-results", results),
        RawField(b"arc-message-signature", signature),
        RawField(b"arc-seal", unsealed + b"\r\n"),
    )
    # A seal that says that the chain failed covers its own set only (RFC 8617 5.1.2).
    octets = sealed_octets([mine] if verdict == b"fail" else [*sets, mine], unsealed + b"\r\n")
    return _with_value(unsealed, key.signature_of(octets)) + signature + results


def _results(message: Message, authserv_id: str) -> list[bytes]:
    """The results in our name, each unfolded: "spf=pass smtp.mailfrom=..."."""
    found: list[bytes] = []
    for field in message.named(FIELD):
        if authserv_id_of(field.value) == authserv_id.lower():
            rest = unfold(_ID.sub(b"", field.value, count=1))
            found += [result.strip() for result in rest.split(b";") if result.strip() not in (b"", b"none")]
    return found[:MAX_RESULTS]


def _field(start: bytes, results: Sequence[bytes]) -> bytes:
    return b";\r\n\t".join([start, *results]) + b"\r\n"


def _message_signature(message: Message, key: SigningKey, instance: int, at: int, names: Sequence[bytes]) -> bytes:
    present = {field.name for field in message.fields}
    unsigned = write_tags(
        b"ARC-Message-Signature:",
        [
            b"a=" + key.algorithm.encode(),
            b"b=",
            b"bh=" + base64.b64encode(BodyHash(message.body, Form.RELAXED).digest),
            b"c=relaxed/relaxed",
            b"d=" + key.domain.encode("ascii"),
            b"h=" + b":".join(name for name in names if name in present),
            b"i=%d" % instance,
            b"s=" + key.selector.encode("ascii"),
            b"t=%d" % at,
        ],
    )
    chosen = choose(message, [name for name in names if name in present])
    return _with_value(unsigned, key.signature_of(signed_octets(chosen, unsigned + b"\r\n", Form.RELAXED)))


def _with_value(unsigned: bytes, value: bytes) -> bytes:
    """The field with its signature in b=, its line end included."""
    return unsigned.replace(b" b=;", folded(b"b=" + base64.b64encode(value)) + b";", 1) + b"\r\n"
