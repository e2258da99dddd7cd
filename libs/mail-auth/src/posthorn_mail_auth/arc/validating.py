"""Validates a chain of ARC sets (RFC 8617 5.2): the last message signature, and every seal."""

import asyncio
from enum import StrEnum
from typing import NamedTuple

from posthorn_mail_auth.arc.sets import (
    BrokenChain,
    SealTags,
    SignatureTags,
    parse_message_signature,
    parse_seal,
    sealed_octets,
    sets_of,
)
from posthorn_mail_auth.canonical import BodyHash
from posthorn_mail_auth.dkim.keys import KEY_KINDS
from posthorn_mail_auth.dkim.signature import choose, signed_octets
from posthorn_mail_auth.dkim.verifying import IN_THREAD, SignatureResult, key_in
from posthorn_mail_auth.dkim.verifying import Result as KeyVerdict
from posthorn_mail_auth.message import Message
from posthorn_mail_auth.side_by_side import all_of
from posthorn_model.resolving import Resolver


class Result(StrEnum):
    """RFC 8617 2, and a temporary error where DNS did not answer (RFC 8601 2.7)."""

    NONE = "none"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    TEMPERROR = "temperror"


class ArcResult(NamedTuple):
    """What became of the chain."""

    result: Result
    reason: str = ""
    sealers: tuple[str, ...] = ()
    """d= of the seals, from the first to the last; () unless the chain could be read."""

    @property
    def instances(self) -> int:
        """How many sets there are."""
        return len(self.sealers)


async def validate(message: Message, resolver: Resolver) -> ArcResult:
    """Validate the chain of a message; keys are asked for side by side. Never raises for what the message holds."""
    try:
        sets = sets_of(message)
        if not sets:
            return ArcResult(Result.NONE)
        seals = [parse_seal(each.seal) for each in sets]
        signature = parse_message_signature(sets[-1].signature)
        for each in sets[:-1]:
            parse_message_signature(each.signature)
    except BrokenChain as error:
        return ArcResult(Result.FAIL, str(error))
    sealers = tuple(seal.domain for seal in seals)
    for number, seal in enumerate(seals):
        if seal.validation != ("pass" if number else "none"):
            return ArcResult(Result.FAIL, f"set {number + 1} says cv={seal.validation}", sealers)
    body = await _body_hash(message, signature)
    if body.digest != signature.body_hash:
        return ArcResult(Result.FAIL, "body hash did not verify", sealers)
    wanted: list[tuple[SealTags | SignatureTags, bytes]] = [
        (signature, signed_octets(choose(message, signature.fields), sets[-1].signature.raw, signature.header_form))
    ]
    wanted += [(seal, sealed_octets(sets[: number + 1], sets[number].seal.raw)) for number, seal in enumerate(seals)]
    problems = await all_of([_problem(resolver, tags, octets) for tags, octets in wanted])
    found = [problem for problem in problems if problem is not None]
    if not found:
        return ArcResult(Result.PASS, sealers=sealers)
    lasting = [problem for problem in found if problem.result is not KeyVerdict.TEMPERROR]
    if lasting:
        return ArcResult(Result.FAIL, lasting[0].reason, sealers)
    return ArcResult(Result.TEMPERROR, found[0].reason, sealers)


async def _body_hash(message: Message, signature: SignatureTags) -> BodyHash:
    if message.body.size > IN_THREAD:
        return await asyncio.to_thread(BodyHash, message.body, signature.body_form)
    return BodyHash(message.body, signature.body_form)


async def _problem(resolver: Resolver, tags: SealTags | SignatureTags, octets: bytes) -> SignatureResult | None:
    """Why a signature does not hold; None when it does."""
    answer = await resolver.texts(f"{tags.selector}._domainkey.{tags.domain}")
    key = key_in(answer, KEY_KINDS[tags.algorithm])
    if isinstance(key, SignatureResult):
        return key
    if key.verifies(tags.value, octets):
        return None
    kind = "seal" if isinstance(tags, SealTags) else "message signature"
    return SignatureResult(KeyVerdict.FAIL, f"{kind} did not verify")
