"""DMARC: discovery over real DNS, alignment, policies, samples and several authors; the public suffix list; iprev."""

from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_auth import iprev
from posthorn_mail_auth.dkim.verifying import Result as DkimVerdict
from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.dmarc.checking import DmarcResult, Result, author_domains, discover, evaluate
from posthorn_mail_auth.dmarc.record import DmarcRecord, Policy, is_dmarc, parse_record
from posthorn_mail_auth.message import split
from posthorn_mail_auth.spf.checking import Result as SpfVerdict
from posthorn_mail_auth.spf.checking import SpfResult
from posthorn_mail_auth.suffixes import PublicSuffixes

SUFFIXES = PublicSuffixes()
ZONE = {
    "_dmarc.example.org": {"TXT": ['"v=DMARC1; p=reject; sp=quarantine"', '"other"']},
    "_dmarc.strict.test": {"TXT": ['"v=DMARC1; p=reject; aspf=s; adkim=s"']},
    "_dmarc.some.test": {"TXT": ['"v=DMARC1; p=reject; pct=30"']},
    "_dmarc.none.test": {"TXT": ['"v=DMARC1; p=none; rua=mailto:a@none.test"']},
    "_dmarc.two.test": {"TXT": ['"v=DMARC1; p=reject"', '"v=DMARC1; p=none"']},
    "_dmarc.failing.test": {"RCODE": ["SERVFAIL"]},
    "_dmarc.shop.co.uk": {"TXT": ['"v=DMARC1;p=quarantine"']},
    "_dmarc.co.uk": {"TXT": ['"v=DMARC1; p=reject"']},
}


def spf(domain: str, result: SpfVerdict = SpfVerdict.PASS) -> SpfResult:
    return SpfResult(result, domain, "mailfrom", f"ann@{domain}")


def dkim(domain: str, result: DkimVerdict = DkimVerdict.PASS) -> list[SignatureResult]:
    return [SignatureResult(result, domain=domain)]


async def judged(
    serve: Any,
    authors: str,
    *,
    by_spf: SpfResult | None = None,
    by_dkim: Sequence[SignatureResult] = (),
    draw: float = 0.0,
) -> DmarcResult:
    _, resolver = await serve(ZONE)
    domains = author_domains(split(f"From: {authors}\r\n\r\n".encode()))
    published = await discover(resolver, domains, SUFFIXES)
    return evaluate(domains, published, spf=by_spf, dkim=by_dkim, suffixes=SUFFIXES, draw=draw)


async def test_what_is_aligned_passes(serve: Any) -> None:
    found = await judged(serve, "Ann <ann@example.org>", by_spf=spf("bounces.example.org"))
    assert (found.result, found.spf_aligned, found.dkim_aligned) == (Result.PASS, True, False)
    assert (found.policy, found.disposition) == (Policy.REJECT, Policy.NONE)
    found = await judged(serve, "ann@news.example.org", by_dkim=dkim("example.org"))
    assert (found.result, found.spf_aligned, found.dkim_aligned) == (Result.PASS, False, True)
    assert found.record_domain == "example.org"


@pytest.mark.parametrize(
    ("domain", "by_spf", "by_dkim", "disposition"),
    [
        ("example.org", None, [], Policy.REJECT),
        ("example.org", spf("example.com"), dkim("example.net"), Policy.REJECT),
        ("example.org", spf("example.org", SpfVerdict.SOFTFAIL), dkim("example.org", DkimVerdict.FAIL), Policy.REJECT),
        ("a.b.example.org", None, [], Policy.QUARANTINE),
        ("strict.test", spf("mail.strict.test"), dkim("mail.strict.test"), Policy.REJECT),
        ("none.test", None, [], Policy.NONE),
        ("www.shop.co.uk", spf("other.co.uk"), [], Policy.QUARANTINE),
    ],
)
async def test_what_is_not_aligned_gets_the_policy(
    serve: Any, domain: str, by_spf: Any, by_dkim: Any, disposition: Policy
) -> None:
    found = await judged(serve, f"ann@{domain}", by_spf=by_spf, by_dkim=by_dkim)
    assert (found.result, found.disposition, found.domain) == (Result.FAIL, disposition, domain)


async def test_a_sample_is_spared(serve: Any) -> None:
    """RFC 7489 6.6.4."""
    assert (await judged(serve, "a@some.test", draw=0.29)).disposition is Policy.REJECT
    assert (await judged(serve, "a@some.test", draw=0.30)).disposition is Policy.QUARANTINE


async def test_what_is_not_known(serve: Any) -> None:
    assert (await judged(serve, "a@other.test")).result is Result.NONE
    assert (await judged(serve, "a@two.test")).result is Result.NONE
    assert (await judged(serve, "a@failing.test")).result is Result.TEMPERROR
    late = await judged(serve, "a@example.org", by_dkim=dkim("example.org", DkimVerdict.TEMPERROR))
    assert (late.result, late.disposition) == (Result.TEMPERROR, Policy.NONE)
    late = await judged(serve, "a@example.org", by_spf=spf("example.org", SpfVerdict.TEMPERROR))
    assert late.result is Result.TEMPERROR
    passed = await judged(
        serve, "a@example.org", by_spf=spf("example.org", SpfVerdict.TEMPERROR), by_dkim=dkim("example.org")
    )
    assert passed.result is Result.PASS


async def test_several_authors_count_each(serve: Any) -> None:
    """RFC 7489 6.6.1."""
    found = await judged(serve, "a@other.test, b@none.test, c@example.org", by_spf=spf("none.test"))
    assert (found.result, found.domain, found.disposition) == (Result.FAIL, "example.org", Policy.REJECT)
    many = ", ".join(f"a@{number}.test" for number in range(6))
    assert (await judged(serve, many)).result is Result.PERMERROR
    for none in ("undisclosed:;", "", "ann", "ann@[192.0.2.1]", "ann@localhost", "a@example.org, b@"):
        assert (await judged(serve, none)).result is Result.PERMERROR


def test_authors() -> None:
    content = "From: Ann <ann@EXAMPLE.org.>, b@bücher.example\r\nTo: x@y.test\r\nFrom: eve@evil.test\r\n\r\n".encode()
    assert author_domains(split(content)) == ("example.org", "xn--bcher-kva.example", "evil.test")


@pytest.mark.parametrize(
    ("text", "known"),
    [
        (b"v=DMARC1; p=none", DmarcRecord(Policy.NONE, Policy.NONE, False, False, 100, (), ())),
        (
            b"v=DMARC1;p=Reject;sp=none;pct=5;aspf=s;adkim=S;rua=mailto:a@b.c, mailto:d@e.f;ruf=mailto:g@h.i;x=y;",
            DmarcRecord(Policy.REJECT, Policy.NONE, True, True, 5, ("mailto:a@b.c", "mailto:d@e.f"), ("mailto:g@h.i",)),
        ),
        (
            b"v=DMARC1; p=odd; rua=mailto:a@b.c",
            DmarcRecord(Policy.NONE, Policy.NONE, False, False, 100, ("mailto:a@b.c",), ()),
        ),
        (b"v=DMARC1; p=reject; pct=500", DmarcRecord(Policy.REJECT, Policy.REJECT, False, False, 100, (), ())),
        (b"v=DMARC1; p=odd", None),
        (b"v=DMARC1", None),
    ],
)  # fmt: skip
def test_records(text: bytes, known: DmarcRecord | None) -> None:
    assert is_dmarc(text)
    assert parse_record(text) == known


@pytest.mark.parametrize(
    "text", [b"", b"v=DMARC2; p=none", b"p=none; v=DMARC1", b"v=DMARC12; p=none", b"v=dmarc1; p=none"]
)
def test_no_records(text: bytes) -> None:
    assert not is_dmarc(text)


@given(st.binary(max_size=200))
def test_any_record_gives_a_record_or_none(text: bytes) -> None:
    found = parse_record(b"v=DMARC1;" + text)
    assert found is None or 0 <= found.percent <= 100


@pytest.mark.parametrize(
    ("domain", "organization"),
    [
        ("a.b.example.org", "example.org"),
        ("EXAMPLE.org.", "example.org"),
        ("a.b.example.co.uk", "example.co.uk"),
        ("co.uk", "co.uk"),
        ("a.city.kobe.jp", "city.kobe.jp"),
        ("www.xn--85x722f.xn--55qx5d.cn", "xn--85x722f.xn--55qx5d.cn"),
        ("a.b.unheard", "b.unheard"),
        ("", ""),
    ],
)
def test_organizations(domain: str, organization: str) -> None:
    assert SUFFIXES.organizational_domain(domain) == organization


def test_another_list() -> None:
    suffixes = PublicSuffixes(b"// ===BEGIN ICANN DOMAINS===\ntest\nspecial.test\n// ===END ICANN DOMAINS===\n")
    assert suffixes.organizational_domain("a.b.special.test") == "b.special.test"
    with pytest.raises(ValueError, match="public suffix list"):
        PublicSuffixes(b"<html>")


async def test_iprev(serve: Any) -> None:
    zone = {
        "1.2.0.192.in-addr.arpa": {"PTR": ["wrong.test.", "mx.test."]},
        "mx.test": {"A": ["192.0.2.1"], "AAAA": ["2001:db8::1"]},
        "wrong.test": {"A": ["192.0.2.2"]},
        "2.2.0.192.in-addr.arpa": {"PTR": ["mx.test."]},
        "3.2.0.192.in-addr.arpa": {"RCODE": ["SERVFAIL"]},
        "4.2.0.192.in-addr.arpa": {"PTR": ["failing.test."]},
        "failing.test": {"RCODE": ["SERVFAIL"]},
        "6.2.0.192.in-addr.arpa": {"PTR": [f"many{number}.test." for number in range(100)]},
        "1.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.8.b.d.0.1.0.0.2.ip6.arpa": {"PTR": ["mx.test."]},
    }
    server, resolver = await serve(zone)
    for address, result, name in [
        ("192.0.2.1", "pass", "mx.test"),
        ("::ffff:192.0.2.1", "pass", "mx.test"),
        ("2001:db8::1", "pass", "mx.test"),
        ("192.0.2.2", "fail", ""),
        ("192.0.2.3", "temperror", ""),
        ("192.0.2.4", "temperror", ""),
        ("192.0.2.5", "permerror", ""),
        ("192.0.2.6", "fail", ""),
    ]:
        found = await iprev.check(resolver, address)
        assert (found.result.value, found.name) == (result, name), address
    assert len([name for name, _ in server.queries if name.startswith("many")]) == iprev.MAX_NAMES
