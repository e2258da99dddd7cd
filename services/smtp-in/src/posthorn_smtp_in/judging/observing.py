"""What a judged message adds to the report that its author's domain asks for (RFC 7489 7.2). Values only."""

from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.dmarc.checking import DmarcResult
from posthorn_mail_auth.dmarc.checking import Result as Dmarc
from posthorn_mail_auth.dmarc.record import DmarcRecord, Policy
from posthorn_mail_auth.spf.checking import SpfResult
from posthorn_model.dmarc import AuthenticatedDomain, Disposition, DmarcObservation, PublishedPolicy
from posthorn_smtp_in.judge import Verdict
from posthorn_smtp_in.judging.facts import AuthenticationFacts

MOST_SIGNATURES = 10
"""Of one message that are told."""


def observed(facts: AuthenticationFacts, verdict: Verdict, sender: str) -> DmarcObservation | None:
    """None when nobody wants to know, or nothing is known yet: what is put off comes again."""
    result = facts.dmarc
    if result is None or result.record is None or result.result not in (Dmarc.PASS, Dmarc.FAIL):
        return None
    refusal = verdict.refusal
    if not result.record.aggregate_reports or (refusal is not None and refusal.code < 500):
        return None
    done: Disposition = "reject" if refusal is not None else "quarantine" if verdict.junk else "none"
    return DmarcObservation(
        published=_published(result.record, result.record_domain),
        source=facts.address,
        disposition=done,
        dkim_aligned=result.dkim_aligned,
        spf_aligned=result.spf_aligned,
        header_from=result.domain,
        envelope_from=sender.rpartition("@")[2].lower(),
        dkim=tuple(_signature(each) for each in (facts.dkim or ())[:MOST_SIGNATURES] if each.domain),
        spf=() if facts.spf is None else (_sender(facts.spf),),
        override=_override(result, done),
    )


def _published(record: DmarcRecord, domain: str) -> PublishedPolicy:
    return PublishedPolicy(
        domain=domain,
        policy=record.policy.value,
        subdomain_policy=record.subdomain_policy.value,
        dkim_alignment="s" if record.strict_dkim else "r",
        spf_alignment="s" if record.strict_spf else "r",
        percent=record.percent,
        reports_to=record.aggregate_reports,
    )


def _signature(result: SignatureResult) -> AuthenticatedDomain:
    return AuthenticatedDomain(result.domain, result.result.value, result.selector)


def _sender(result: SpfResult) -> AuthenticatedDomain:
    return AuthenticatedDomain(result.domain, result.result.value, "helo" if result.identity == "helo" else "mfrom")


def _override(result: DmarcResult, done: Disposition) -> str:
    """Why something else was done than the policy asks for: it is about a part of the mail only, or we think otherwise.

    Not among the percent that pct= means is "sampled_out"; everything else is our own will (RFC 7489 C).
    """
    wanted = result.policy if result.result is Dmarc.FAIL else Policy.NONE
    if done == wanted.value:
        return ""
    return "sampled_out" if done == result.disposition.value else "local_policy"
