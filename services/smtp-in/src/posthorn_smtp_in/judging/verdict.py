"""The verdict on who sent a message: a function of the facts and of what the settings want."""

from collections.abc import Collection

from posthorn_mail_auth import iprev
from posthorn_mail_auth.arc.validating import ArcResult
from posthorn_mail_auth.arc.validating import Result as Arc
from posthorn_mail_auth.dkim.verifying import Result as Dkim
from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.dmarc.checking import DmarcResult
from posthorn_mail_auth.dmarc.checking import Result as Dmarc
from posthorn_mail_auth.dmarc.record import Policy
from posthorn_mail_auth.spf.checking import Result as Spf
from posthorn_mail_auth.spf.checking import SpfResult
from posthorn_smtp_in.judge import ACCEPTED, Verdict
from posthorn_smtp_in.judging.facts import AuthenticationFacts
from posthorn_smtp_in.judging.settings import AuthenticationSettings
from posthorn_smtp_in.protocol.replies import Reply, reply

# Codes of RFC 7372 3 and RFC 8617 10.3.
_NO_REVERSE = Verdict("iprev-fail", reply(550, "5.7.25", "The client's address has no name that leads back to it"))
_REVERSE_LATER = Verdict("iprev-temperror", reply(451, "4.7.25", "The name of the client's address is not known now"))
_SPF_FAIL = reply(550, "5.7.23", "SPF: the domain of the sender does not let this address send its mail")
_SPF_BROKEN = Verdict("spf-permerror", reply(550, "5.7.24", "SPF: the record of the sender's domain cannot be used"))
_SPF_LATER = Verdict("spf-temperror", reply(451, "4.7.24", "SPF: the record of the sender's domain is not known now"))
_DKIM_FAIL = Verdict("dkim-fail", reply(550, "5.7.20", "DKIM: no signature of the message is valid"))
_DKIM_LATER = Verdict("dkim-temperror", reply(451, "4.7.20", "DKIM: the key of the signature is not known now"))
_ARC_FAIL = Verdict("arc-fail", reply(550, "5.7.29", "ARC: the chain of seals is broken"))
_ARC_LATER = Verdict("arc-temperror", reply(451, "4.7.29", "ARC: a key of the chain is not known now"))
_DMARC_LATER = Verdict(
    "dmarc-temperror", reply(451, "4.7.1", "DMARC: the policy of the author's domain is not known now")
)
_NO_AUTHOR = Verdict("dmarc-permerror", reply(550, "5.7.1", "From names no author, or too many"))
_JUNK = Verdict("dmarc-junk", junk=True)
MAX_EXPLANATION = 200


def judge(facts: AuthenticationFacts, policy: AuthenticationSettings) -> Verdict:
    """Refused by the first strict check that fails, else what DMARC wants, else accepted."""
    found = [
        _on_iprev(facts.iprev) if policy.iprev == "strict" else None,
        _on_spf(facts.spf) if policy.spf == "strict" else None,
        _on_dkim(facts.dkim) if policy.dkim == "strict" else None,
        _on_arc(facts.arc) if policy.arc == "strict" else None,
        _on_dmarc(facts, policy),
    ]
    verdicts = [verdict for verdict in found if verdict is not None]
    lasting = [each for each in verdicts if each.refusal is not None and each.refusal.code >= 500]
    refusing = [each for each in verdicts if each.refusal is not None]
    return next(iter([*lasting, *refusing, *verdicts]), ACCEPTED)


def _on_iprev(result: iprev.IprevResult | None) -> Verdict | None:
    if result is None or result.result is iprev.Result.PASS:
        return None
    return _REVERSE_LATER if result.result is iprev.Result.TEMPERROR else _NO_REVERSE


def _on_spf(result: SpfResult | None) -> Verdict | None:
    if result is None:
        return None
    if result.result is Spf.FAIL:
        if not result.explanation:
            return Verdict("spf-fail", _SPF_FAIL)
        # RFC 7208 6.2: it must be told that these are the domain's words.
        words = f"SPF: {result.domain} explains: {result.explanation[:MAX_EXPLANATION]}"
        return Verdict("spf-fail", reply(550, "5.7.23", words))
    return {Spf.PERMERROR: _SPF_BROKEN, Spf.TEMPERROR: _SPF_LATER}.get(result.result)


def _on_dkim(results: Collection[SignatureResult] | None) -> Verdict | None:
    """A message without signatures is no failure (RFC 6376 6.1)."""
    if not results or any(each.result is Dkim.PASS for each in results):
        return None
    return _DKIM_LATER if any(each.result is Dkim.TEMPERROR for each in results) else _DKIM_FAIL


def _on_arc(result: ArcResult | None) -> Verdict | None:
    if result is None:
        return None
    return {Arc.FAIL: _ARC_FAIL, Arc.TEMPERROR: _ARC_LATER}.get(result.result)


def _on_dmarc(facts: AuthenticationFacts, policy: AuthenticationSettings) -> Verdict | None:
    result = facts.dmarc
    if result is None or result.result in (Dmarc.PASS, Dmarc.NONE):
        return None
    strict = policy.dmarc == "strict"
    if result.result is Dmarc.PERMERROR:
        return _NO_AUTHOR if strict else None
    if sealed_by_friend(facts.arc, policy.trusted_sealers):
        return None
    if result.result is Dmarc.TEMPERROR:
        # Where the policy is known and asks for nothing, nothing can come of waiting.
        harmless = result.record is not None and result.policy is Policy.NONE
        return _DMARC_LATER if strict and not harmless else None
    if result.disposition is Policy.REJECT and strict:
        return Verdict("dmarc-reject", _dmarc_refusal(result))
    return None if result.disposition is Policy.NONE else _JUNK


def _dmarc_refusal(result: DmarcResult) -> Reply:
    return reply(550, "5.7.1", f"DMARC: {result.domain} wants mail refused that neither SPF nor DKIM speaks for")


def sealed_by_friend(arc: ArcResult | None, trusted: Collection[str]) -> bool:
    """Whether the last sealer of a valid chain is one whose word counts (RFC 8617 7.2.1)."""
    if arc is None or arc.result is not Arc.PASS or not arc.sealers:
        return False
    return arc.sealers[-1] in {domain.lower() for domain in trusted}
