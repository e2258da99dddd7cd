"""Verifies DKIM signatures (RFC 6376 6): keys are asked for side by side, a body is hashed once for all that agree.

Bounded: the first MAX_SIGNATURES signatures of a message are looked at, one question to DNS each.
"""

import asyncio
import base64
from collections.abc import Sequence
from enum import StrEnum
from typing import NamedTuple

from posthorn_mail_auth.canonical import BodyHash
from posthorn_mail_auth.dkim.keys import KEY_KINDS, InvalidKey, PublicKey, WeakKey, parse_key
from posthorn_mail_auth.dkim.signature import (
    FIELD,
    InvalidSignature,
    Signature,
    choose,
    parse_signature,
    signed_octets,
)
from posthorn_mail_auth.message import Message, RawField
from posthorn_mail_auth.side_by_side import all_of
from posthorn_model.resolving import Answer, Outcome, Resolver

MAX_SIGNATURES = 8
MAX_KEY_RECORDS = 4
CLOCK_SKEW = 3600.0
"""Seconds by which a signature may be from the future."""
IN_THREAD = 262_144
"""Octets of a body whose hash would hold up others for too long."""


class Result(StrEnum):
    """RFC 8601 2.7.1."""

    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    POLICY = "policy"
    NEUTRAL = "neutral"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class SignatureResult(NamedTuple):
    """What became of one signature. The strings are "" as far as the field could not be read."""

    result: Result
    reason: str = ""
    """Why it is no pass, in a few words."""
    domain: str = ""
    selector: str = ""
    identity: str = ""
    algorithm: str = ""
    bits: int = 0
    """Size of the key, 0 when none was got."""
    testing: bool = False
    """The key says t=y."""
    value: str = ""
    """The first eight characters of b=, which tell signatures apart (RFC 6008)."""


class _Open(NamedTuple):
    """A signature that is worth asking for its key."""

    field: RawField
    signature: Signature
    told: SignatureResult


async def verify(
    message: Message, resolver: Resolver, *, now: float, partial_bodies: bool = False
) -> tuple[SignatureResult, ...]:
    """Return a result for each signature, from top to bottom, at most MAX_SIGNATURES; () when there is none.

    `now` is in seconds since 1970. A signature that leaves octets of the body out (l=, RFC 6376 8.2) is POLICY unless
    `partial_bodies`. The time it takes is the resolver's, and the hash of the body (in a thread when that is large).
    """
    begun = [_begin(field, now) for field in message.named(FIELD)[:MAX_SIGNATURES]]
    usable = [each for each in begun if isinstance(each, _Open)]
    signatures = [each.signature for each in usable]
    hashes: Sequence[BodyHash]
    if message.body.size > IN_THREAD:
        hashes, answers = await asyncio.gather(
            asyncio.to_thread(_hashes, message, signatures, partial_bodies=partial_bodies), _keys(resolver, signatures)
        )
    else:
        answers = await _keys(resolver, signatures)
        hashes = _hashes(message, signatures, partial_bodies=partial_bodies)
    ends = iter(zip(hashes, answers, strict=True))
    results = []
    for each in begun:
        if isinstance(each, _Open):
            body, answer = next(ends)
            results.append(_end(message, each, body, answer, partial_bodies=partial_bodies))
        else:
            results.append(each)
    return tuple(results)


def key_name(signature: Signature) -> str:
    """Where the key of a signature is published (RFC 6376 3.6.2.1)."""
    return f"{signature.selector}._domainkey.{signature.domain}"


def _begin(field: RawField, now: float) -> _Open | SignatureResult:
    try:
        signature = parse_signature(field.value)
    except InvalidSignature as error:
        return SignatureResult(Result.PERMERROR, str(error))
    told = SignatureResult(
        Result.FAIL,
        domain=signature.domain,
        selector=signature.selector,
        identity=signature.identity,
        algorithm=signature.algorithm,
        value=_first_characters(signature),
    )
    if signature.algorithm == "rsa-sha1":
        return told._replace(result=Result.POLICY, reason="rsa-sha1 is no longer taken")
    if signature.algorithm not in KEY_KINDS:
        return told._replace(result=Result.PERMERROR, reason="unknown algorithm")
    if signature.expires_at is not None and signature.expires_at < now:
        return told._replace(reason="signature expired")
    if signature.signed_at is not None and signature.signed_at > now + CLOCK_SKEW:
        return told._replace(reason="signature is from the future")
    return _Open(field, signature, told)


def _first_characters(signature: Signature) -> str:
    return base64.b64encode(signature.value[:6]).decode()


async def _keys(resolver: Resolver, signatures: Sequence[Signature]) -> list[Answer[bytes]]:
    return await all_of([resolver.texts(key_name(each)) for each in signatures])


def _hashes(message: Message, signatures: Sequence[Signature], *, partial_bodies: bool) -> Sequence[BodyHash]:
    """The body hash for each signature."""
    wanted = [(each.body_form, each.length if partial_bodies else None) for each in signatures]
    found = {each: BodyHash(message.body, *each) for each in dict.fromkeys(wanted)}
    return [found[each] for each in wanted]


def _end(
    message: Message, each: _Open, body: BodyHash, answer: Answer[bytes], *, partial_bodies: bool
) -> SignatureResult:
    signature, told = each.signature, each.told
    if signature.length is not None:
        if signature.length > body.size:
            return told._replace(reason="the body is shorter than was signed")
        if signature.length < body.size and not partial_bodies:
            return told._replace(result=Result.POLICY, reason="a part of the body is not signed")
    if signature.body_hash != body.digest:
        return told._replace(reason="body hash did not verify")
    key = key_in(answer, KEY_KINDS[signature.algorithm])
    if isinstance(key, SignatureResult):
        return told._replace(result=key.result, reason=key.reason)
    result, reason = Result.PASS, ""
    if key.exact and signature.identity.rpartition("@")[2] != signature.domain:
        result, reason = Result.PERMERROR, "the key is not for subdomains"
    elif not key.verifies(signature.value, _signed(message, each)):
        result, reason = Result.FAIL, "signature did not verify"
    return told._replace(result=result, reason=reason, bits=key.bits, testing=key.testing)


def _signed(message: Message, each: _Open) -> bytes:
    signature = each.signature
    return signed_octets(choose(message, signature.fields), each.field.raw, signature.header_form)


def key_in(answer: Answer[bytes], kind: str) -> PublicKey | SignatureResult:
    """The key of a kind among the records of an answer; without one a result that says why."""
    if answer.outcome is Outcome.FAILED:
        return SignatureResult(Result.TEMPERROR, "no answer from DNS for the key")
    problem = SignatureResult(Result.PERMERROR, "no key is published")
    for record in answer.records[:MAX_KEY_RECORDS]:
        try:
            key = parse_key(record)
        except WeakKey as error:
            problem = SignatureResult(Result.POLICY, str(error))
        except InvalidKey as error:
            problem = SignatureResult(Result.PERMERROR, str(error))
        else:
            if key.kind == kind:
                return key
            problem = SignatureResult(Result.PERMERROR, "the key is of another kind")
    return problem
