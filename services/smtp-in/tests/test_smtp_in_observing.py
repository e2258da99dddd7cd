"""What is told to the owners of domains: pure facts to observations, and a whole message to the row of a report."""

from typing import Any

import pytest

from posthorn_mail_auth.dkim.verifying import Result as Dkim
from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.dmarc.checking import DmarcResult
from posthorn_mail_auth.dmarc.checking import Result as Dmarc
from posthorn_mail_auth.dmarc.record import Policy, parse_record
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_mail_auth.spf.checking import Result as Spf
from posthorn_mail_auth.spf.checking import SpfResult
from posthorn_model.dmarc import AuthenticatedDomain, DmarcObservation, PublishedPolicy
from posthorn_smtp_in.judge import ACCEPTED, Verdict
from posthorn_smtp_in.judging.facts import AuthenticationFacts
from posthorn_smtp_in.judging.observing import MOST_SIGNATURES, observed
from posthorn_smtp_in.protocol.replies import reply
from posthorn_storage.dmarc import DmarcTally, DueReport
from posthorn_testkit.dns import DnsServer

RECORD = parse_record(b"v=DMARC1; p=reject; sp=quarantine; adkim=s; pct=40; rua=mailto:a@firm.test!1m, mailto:b@x.test")
FAILED = DmarcResult(
    Dmarc.FAIL, "news.firm.test", Policy.REJECT, Policy.REJECT, record=RECORD, record_domain="firm.test"
)
FACTS = AuthenticationFacts(
    "192.0.2.1",
    spf=SpfResult(Spf.SOFTFAIL, "evil.test", "mailfrom", "eve@evil.test"),
    dkim=(SignatureResult(Dkim.FAIL, domain="evil.test", selector="s"), SignatureResult(Dkim.PERMERROR)),
    dmarc=FAILED,
)
REFUSED = Verdict("dmarc-reject", reply(550, "5.7.1", "no"))
JUNK = Verdict("dmarc-junk", junk=True)


def test_an_observation_tells_all_that_a_report_has() -> None:
    assert observed(FACTS, REFUSED, "eve@Evil.test") == DmarcObservation(
        PublishedPolicy(
            "firm.test", "reject", "quarantine", "s", "r", 40, ("mailto:a@firm.test!1m", "mailto:b@x.test")
        ),
        "192.0.2.1",
        "reject",
        False,
        False,
        "news.firm.test",
        "evil.test",
        (AuthenticatedDomain("evil.test", "fail", "s"),),
        (AuthenticatedDomain("evil.test", "softfail", "mfrom"),),
    )


@pytest.mark.parametrize(
    ("dmarc", "verdict", "disposition", "override"),
    [
        (FAILED, REFUSED, "reject", ""),
        (FAILED, JUNK, "quarantine", "local_policy"),
        (FAILED, ACCEPTED, "none", "local_policy"),
        (FAILED._replace(disposition=Policy.QUARANTINE), JUNK, "quarantine", "sampled_out"),
        (FAILED._replace(policy=Policy.NONE, disposition=Policy.NONE), ACCEPTED, "none", ""),
        (FAILED._replace(result=Dmarc.PASS, disposition=Policy.NONE), ACCEPTED, "none", ""),
        (FAILED._replace(result=Dmarc.PASS, disposition=Policy.NONE), REFUSED, "reject", "local_policy"),
    ],
)
def test_what_was_done_and_why_it_is_not_what_was_asked_for(
    dmarc: DmarcResult, verdict: Verdict, disposition: str, override: str
) -> None:
    seen = observed(FACTS._replace(dmarc=dmarc), verdict, "")
    assert seen is not None
    assert (seen.disposition, seen.override) == (disposition, override)


@pytest.mark.parametrize(
    ("facts", "verdict"),
    [
        (FACTS._replace(dmarc=None), ACCEPTED),
        (FACTS._replace(dmarc=DmarcResult(Dmarc.NONE, "firm.test")), ACCEPTED),
        (FACTS._replace(dmarc=FAILED._replace(result=Dmarc.TEMPERROR)), ACCEPTED),
        (FACTS._replace(dmarc=FAILED._replace(record=parse_record(b"v=DMARC1; p=reject"))), REFUSED),
        (FACTS, Verdict("dmarc-temperror", reply(451, "4.7.1", "later"))),
    ],
    ids=["not judged", "no policy", "not known", "no reports wanted", "put off"],
)
def test_what_is_in_no_report(facts: AuthenticationFacts, verdict: Verdict) -> None:
    assert observed(facts, verdict, "eve@evil.test") is None


def test_many_signatures_make_no_row_longer() -> None:
    many = tuple(SignatureResult(Dkim.FAIL, domain=f"d{number}.test") for number in range(100))
    seen = observed(FACTS._replace(dkim=many, spf=None), ACCEPTED, "x")
    assert seen is not None
    assert (len(seen.dkim), seen.spf) == (MOST_SIGNATURES, ())


@pytest.mark.postgres
async def test_a_message_becomes_a_row_of_the_report(start: Any, people: Any) -> None:
    zone = {
        "_dmarc.firm.test": {"TXT": ['"v=DMARC1; p=reject; rua=mailto:dmarc@firm.test"']},
        "firm.test": {"TXT": ['"v=spf1 ip4:192.0.2.1 -all"']},
    }
    async with DnsServer(zone) as server:
        told: list[DmarcObservation] = []
        service = await start(resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60), observe=told.append)
        tally = DmarcTally(service.parts.storage.dmarc)
        for client, answer in (("192.0.2.1", "250 *"), ("192.0.2.7", "550 5.7.1 *"), ("192.0.2.7", "550 5.7.1 *")):
            async with await service.connect("proxied") as talk:
                talk.send(f"PROXY TCP4 {client} 192.0.2.99 1234 25\r\n".encode())
                await talk.play(
                    "S: 220 *\nC: EHLO mail.firm.test\nS: 250-*\nC: MAIL FROM:<eve@firm.test>\nS: 250 *\n"
                    "C: RCPT TO:<ann@example.org>\nS: 250 *\nC: DATA\nS: 354 *\n"
                    f"C: From: eve@firm.test\nC: \nC: x\nC: .\nS: {answer}"
                )
    for each in told:
        tally.add(each)
    await tally.flush()
    day = await service.parts.storage._database.fetchval("SELECT max(day) FROM dmarc_report")
    first, second = await service.parts.storage.dmarc.rows(DueReport(day, told[0].published, 0))
    assert (first.observation.source, first.observation.disposition, first.count) == ("192.0.2.7", "reject", 2)
    assert (second.observation.source, second.observation.spf_aligned, second.count) == ("192.0.2.1", True, 1)
