"""The Authentication-Results field that tells of the facts (RFC 8601 2.7, RFC 8617 4.1.1)."""

from collections.abc import Iterator

from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.results import MethodResult, write
from posthorn_smtp_in.judging.facts import AuthenticationFacts


def authentication_results(hostname: str, facts: AuthenticationFacts) -> bytes:
    """The field with its line ends; `hostname` is what we call ourselves in it."""
    return write(hostname, list(_methods(facts)))


def _methods(facts: AuthenticationFacts) -> Iterator[MethodResult]:
    if facts.iprev is not None:
        yield MethodResult(
            "iprev", facts.iprev.result, comment=facts.iprev.name, properties=(("policy.iprev", facts.address),)
        )
    if facts.spf is not None:
        yield MethodResult(
            "spf",
            facts.spf.result,
            comment=facts.spf.reason,
            properties=((f"smtp.{facts.spf.identity}", facts.spf.sender),),
        )
    if facts.dkim is not None:
        yield from map(_dkim, facts.dkim) if facts.dkim else [MethodResult("dkim", "none")]
    if facts.dmarc is not None:
        yield MethodResult(
            "dmarc",
            facts.dmarc.result,
            comment=f"p={facts.dmarc.policy.value}" if facts.dmarc.record is not None else "",
            reason=facts.dmarc.reason,
            properties=(("header.from", facts.dmarc.domain),),
        )
    if facts.arc is not None:
        yield MethodResult(
            "arc",
            facts.arc.result,
            comment=", ".join(facts.arc.sealers[-3:]),
            reason=facts.arc.reason,
            properties=(("smtp.remote-ip", facts.address),),
        )


def _dkim(result: SignatureResult) -> MethodResult:
    comment = f"{result.bits}-bit key{', testing' if result.testing else ''}" if result.bits else ""
    return MethodResult(
        "dkim",
        result.result,
        comment=comment,
        reason=result.reason,
        properties=(
            ("header.d", result.domain),
            ("header.i", result.identity),
            ("header.s", result.selector),
            ("header.a", result.algorithm),
            ("header.b", result.value),
        ),
    )
