"""DMARC of a message: the domains of From, their records, alignment, and what is to be done (RFC 7489 4.3, 6.6).

Several authors in different domains each count: the strictest result of those that fail is taken (6.6.1).
"""

from collections.abc import Collection, Sequence
from enum import StrEnum
from typing import NamedTuple

from posthorn_mail_auth.dkim.verifying import Result as DkimVerdict
from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.dmarc.record import DmarcRecord, Policy, is_dmarc, parse_record
from posthorn_mail_auth.message import Message
from posthorn_mail_auth.side_by_side import all_of
from posthorn_mail_auth.spf.checking import Result as SpfVerdict
from posthorn_mail_auth.spf.checking import SpfResult
from posthorn_mail_auth.suffixes import PublicSuffixes
from posthorn_mail_format.addresses import flatten, parse_addresses
from posthorn_model.queue_items import site_of
from posthorn_model.resolving import Answer, Resolver

MAX_AUTHORS = 5
"""Domains in From; a message with more has no DMARC result but permerror."""


class Result(StrEnum):
    """RFC 7489 11.2."""

    NONE = "none"
    PASS = "pass"  # noqa: S105
    FAIL = "fail"
    TEMPERROR = "temperror"
    PERMERROR = "permerror"


class DmarcResult(NamedTuple):
    """What became of the check, and what the domain asks for."""

    result: Result
    domain: str = ""
    """Of From, in A-labels."""
    policy: Policy = Policy.NONE
    """What is asked for mail that fails, by p= or sp=."""
    disposition: Policy = Policy.NONE
    """What is to be done with this message: the policy after pct=; NONE unless it failed."""
    spf_aligned: bool = False
    dkim_aligned: bool = False
    reason: str = ""
    record: DmarcRecord | None = None
    record_domain: str = ""
    """Where the record was found."""


class Published(NamedTuple):
    """The record of an author's domain, or why there is none."""

    domain: str
    record: DmarcRecord | None = None
    found_at: str = ""
    failed: bool = False


def author_domains(message: Message) -> tuple[str, ...]:
    """The domains of all From fields in A-labels, each once; "" stands for one that is none."""
    found: dict[str, None] = {}
    for field in message.named(b"from"):
        for address in flatten(parse_addresses(field.value)):
            host = site_of(address.host) or ""
            found["" if host.startswith("[") or "." not in host else host.removesuffix(".")] = None
    return tuple(found)


async def discover(resolver: Resolver, domains: Collection[str], suffixes: PublicSuffixes) -> tuple[Published, ...]:
    """Ask for the records of domains side by side (RFC 7489 6.6.3), at most MAX_AUTHORS."""
    wanted = [domain for domain in domains if domain][:MAX_AUTHORS]
    return tuple(await all_of([_published(resolver, domain, suffixes) for domain in wanted]))


async def _published(resolver: Resolver, domain: str, suffixes: PublicSuffixes) -> Published:
    organization = suffixes.organizational_domain(domain)
    for place in dict.fromkeys((domain, organization)):
        answer: Answer[bytes] = await resolver.texts(f"_dmarc.{place}")
        if answer.failed:
            return Published(domain, failed=True)
        records = [text for text in answer.records if is_dmarc(text)]
        if records:
            # Several records are none, and the search is over (RFC 7489 6.6.3).
            record = parse_record(records[0]) if len(records) == 1 else None
            return Published(domain, record, place if record else "")
    return Published(domain)


def evaluate(
    domains: Sequence[str],
    published: Sequence[Published],
    *,
    spf: SpfResult | None,
    dkim: Sequence[SignatureResult],
    suffixes: PublicSuffixes,
    draw: float,
) -> DmarcResult:
    """The result for a message with these authors. `draw` in [0, 1) decides whether pct= means this message."""
    if not domains or not any(domains):
        return DmarcResult(Result.PERMERROR, reason="no domain in From")
    if len(domains) > MAX_AUTHORS or not all(domains):
        return DmarcResult(Result.PERMERROR, reason="From cannot be used")
    results = [_one(each, spf, dkim, suffixes, draw) for each in published]
    return max(results, key=_severity)


def _severity(result: DmarcResult) -> tuple[int, int, int]:
    order = [Result.PASS, Result.NONE, Result.PERMERROR, Result.TEMPERROR, Result.FAIL]
    strictness = list(Policy)
    return (order.index(result.result), strictness.index(result.disposition), strictness.index(result.policy))


def _one(
    published: Published,
    spf: SpfResult | None,
    dkim: Sequence[SignatureResult],
    suffixes: PublicSuffixes,
    draw: float,
) -> DmarcResult:
    domain, record = published.domain, published.record
    if published.failed:
        return DmarcResult(Result.TEMPERROR, domain, reason="no answer from DNS for the policy")
    if record is None:
        return DmarcResult(Result.NONE, domain, reason="no policy")

    def aligned(other: str, *, strict: bool) -> bool:
        if strict:
            return other == domain
        return suffixes.organizational_domain(other) == suffixes.organizational_domain(domain)

    by_spf = spf is not None and spf.result is SpfVerdict.PASS and aligned(spf.domain, strict=record.strict_spf)
    passed = [each for each in dkim if each.result is DkimVerdict.PASS]
    by_dkim = any(aligned(each.domain, strict=record.strict_dkim) for each in passed)
    policy = record.policy if domain == published.found_at else record.subdomain_policy
    if by_spf or by_dkim:
        return DmarcResult(Result.PASS, domain, policy, Policy.NONE, by_spf, by_dkim, "", record, published.found_at)
    unknown = any(each.result is DkimVerdict.TEMPERROR for each in dkim)
    if unknown or (spf is not None and spf.result is SpfVerdict.TEMPERROR):
        # What could not be asked might have spoken for the message (RFC 7489 6.6.2 leaves it to us).
        return DmarcResult(
            Result.TEMPERROR, domain, policy, reason="SPF or DKIM is not known", record=record,
            record_domain=published.found_at,
        )  # fmt: skip
    return DmarcResult(
        Result.FAIL,
        domain,
        policy,
        _sampled(policy, record.percent, draw),
        reason="nothing is aligned",
        record=record,
        record_domain=published.found_at,
    )


def _sampled(policy: Policy, percent: int, draw: float) -> Policy:
    """RFC 7489 6.6.4: who is not among the percent gets the next milder policy."""
    if draw * 100 < percent:
        return policy
    return Policy.QUARANTINE if policy is Policy.REJECT else Policy.NONE
