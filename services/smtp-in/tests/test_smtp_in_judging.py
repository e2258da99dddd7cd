"""Who sent a message is judged: facts over real DNS, a pure verdict, both told in the header section and the log."""

import asyncio
import base64
import os
from pathlib import Path
from typing import Any

import pytest
import structlog
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import ValidationError

from posthorn_mail_auth import iprev
from posthorn_mail_auth.arc.validating import ArcResult
from posthorn_mail_auth.arc.validating import Result as Arc
from posthorn_mail_auth.dkim.signing import SigningKey, sign
from posthorn_mail_auth.dkim.verifying import Result as Dkim
from posthorn_mail_auth.dkim.verifying import SignatureResult
from posthorn_mail_auth.dmarc.checking import DmarcResult
from posthorn_mail_auth.dmarc.checking import Result as Dmarc
from posthorn_mail_auth.dmarc.record import Policy, parse_record
from posthorn_mail_auth.dns_client import DnsResolver
from posthorn_mail_auth.spf.checking import Result as Spf
from posthorn_mail_auth.spf.checking import SpfResult
from posthorn_model.mail import Role
from posthorn_node.settings import SettingsError
from posthorn_smtp_in.judging.facts import AuthenticationFacts
from posthorn_smtp_in.judging.settings import AuthenticationSettings
from posthorn_smtp_in.judging.suffix_file import RECHECK, SuffixFile
from posthorn_smtp_in.judging.verdict import judge
from posthorn_testkit.dns import DnsServer

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = base64.b64encode(KEY.public_key().public_bytes_raw()).decode()
ZONE = {
    "firm.test": {"TXT": ['"v=spf1 ip4:192.0.2.1 -all"'], "A": ["192.0.2.1"]},
    "_dmarc.firm.test": {"TXT": ['"v=DMARC1; p=reject"']},
    "k._domainkey.firm.test": {"TXT": [f'"k=ed25519; p={PUBLIC}"']},
    "1.2.0.192.in-addr.arpa": {"PTR": ["mail.firm.test."]},
    "mail.firm.test": {"A": ["192.0.2.1"]},
    "_dmarc.slow.test": {"SILENT": []},
}
MESSAGE = (
    b"Authentication-Results: mx.example.org; dmarc=pass header.from=firm.test\r\n"
    b"Authentication-Results: other.test; spf=pass\r\n"
    b"From: Eve <eve@firm.test>\r\nSubject: hi\r\n\r\nHello\r\n"
)


async def deliver(service: Any, content: bytes, *, client: str = "192.0.2.1", sender: str = "eve@firm.test") -> str:
    """The reply to a message for Ann from a client at an address."""
    async with await service.connect("proxied") as talk:
        talk.send(f"PROXY TCP4 {client} 192.0.2.99 1234 25\r\n".encode())
        await talk.play(f"""
            S: 220 *
            C: EHLO mail.firm.test
            S: 250-*
            C: MAIL FROM:<{sender}>
            S: 250 *
            C: RCPT TO:<ann@example.org>
            S: 250 *
            C: DATA
            S: 354 *
        """)
        talk.send(content + b".\r\n")
        return str(await talk.reply())


@pytest.mark.postgres
async def test_a_sender_is_asked_about_before_there_is_content(start: Any, people: Any) -> None:
    async with DnsServer(ZONE) as server:
        service = await start(resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60))
        async with await service.connect("proxied") as talk:
            talk.send(b"PROXY TCP4 192.0.2.1 192.0.2.99 1234 25\r\n")
            await talk.play("""
                S: 220 *
                C: EHLO mail.firm.test
                S: 250-*
                C: MAIL FROM:<eve@firm.test>
                S: 250 *
                C: RCPT TO:<nobody@example.org>
                S: 550 5.1.1 *
                C: NOOP
                S: 250 *
            """)
            assert server.queries == []  # nobody took it
            await talk.play("C: RCPT TO:<ann@example.org>\nS: 250 *")
            async with asyncio.timeout(30):
                while not {("firm.test", "TXT"), ("1.2.0.192.in-addr.arpa", "PTR")} <= set(server.queries):
                    await talk.play("C: NOOP\nS: 250 *")
            # What was found for a transaction that is over is not used for the next one.
            await talk.play("""
                C: RSET
                S: 250 *
                C: MAIL FROM:<eve@other.test>
                S: 250 *
                C: RCPT TO:<ann@example.org>
                S: 250 *
                C: DATA
                S: 354 *
            """)
            talk.send(b"From: Eve <eve@other.test>\r\n\r\nHello\r\n.\r\n")
            assert (await talk.reply()).startswith("250")
        (content,) = await service.inbox(people[0])
    assert b"\tspf=none" in content
    assert b" smtp.mailfrom=eve@other.test;" in content


async def junk(service: Any, account: Any) -> int:
    mail = service.parts.storage.mail
    (box,) = [box for box in await mail.mailboxes(account.id) if box.role is Role.JUNK]
    return len(await mail.entries(account.id, box.id))


@pytest.mark.postgres
async def test_what_is_authentic_arrives_with_its_results(start: Any, people: Any) -> None:
    async with DnsServer(ZONE) as server:
        service = await start(resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60))
        signed = sign(MESSAGE, [SigningKey("firm.test", "k", KEY)], at=1) + MESSAGE
        assert (await deliver(service, signed)).startswith("250")
        (content,) = await service.inbox(people[0])
    head, _, rest = content.decode().partition("Received: ")
    assert head.splitlines() == [
        "Return-Path: <eve@firm.test>",
        "Authentication-Results: mx.example.org;",
        "\tiprev=pass (mail.firm.test) policy.iprev=192.0.2.1;",
        "\tspf=pass (ip4:192.0.2.1) smtp.mailfrom=eve@firm.test;",
        "\tdkim=pass (256-bit key) header.d=firm.test header.i=@firm.test header.s=k",
        next(line for line in head.splitlines() if "header.a" in line),
        "\tdmarc=pass (p=reject) header.from=firm.test;",
        "\tarc=none smtp.remote-ip=192.0.2.1",
    ]
    assert "mx.example.org; dmarc=pass" not in rest, "what claims to be ours is removed"
    assert "Authentication-Results: other.test; spf=pass" in rest
    (line,) = [line for line in service.log.getvalue().splitlines() if "event='message'" in line]
    for words in (
        "verdict='accepted' ",
        "authentication='accepted' author='firm.test' signers=['firm.test'] iprev='pass' spf='pass'",
        "arc='none' dmarc='pass' dkim='pass'",
    ):
        assert words in line


@pytest.mark.postgres
async def test_what_is_not_authentic_is_refused(start: Any, people: Any) -> None:
    async with DnsServer(ZONE) as server:
        service = await start(resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60))
        answer = await deliver(service, MESSAGE, client="192.0.2.7", sender="eve@evil.test")
    assert answer == "550 5.7.1 DMARC: firm.test wants mail refused that neither SPF nor DKIM speaks for"
    assert await service.inbox(people[0]) == []
    assert "verdict='dmarc-reject'" in service.log.getvalue()


@pytest.mark.postgres
async def test_relaxed_dmarc_puts_it_into_junk(start: Any, people: Any) -> None:
    async with DnsServer(ZONE) as server:
        service = await start(resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60), auth={"dmarc": "relaxed"})
        answer = await deliver(service, MESSAGE, client="192.0.2.7", sender="eve@evil.test")
    assert answer.startswith("250")
    assert await service.inbox(people[0]) == []
    assert await junk(service, people[0]) == 1


@pytest.mark.postgres
async def test_a_spooled_message_is_verified_where_it_lies(start: Any, people: Any) -> None:
    large = MESSAGE + b"and  so on \t\r\n" * 200_000 + b"\r\n\r\n"
    async with DnsServer(ZONE) as server:
        service = await start(
            resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60),
            limits={"content_in_memory": 4096},
            auth={"dkim": "strict"},
        )
        signed = sign(large, [SigningKey("firm.test", "k", KEY)], at=1) + large
        assert (await deliver(service, signed, client="192.0.2.7")).startswith("250")
        answer = await deliver(service, signed.replace(b"so on", b"so off", 1), client="192.0.2.7")
    assert answer.startswith("550 5.7.20 DKIM")


@pytest.mark.postgres
async def test_dns_that_keeps_silent_defers_where_that_is_wanted(start: Any, people: Any) -> None:
    content = MESSAGE.replace(b"firm.test", b"slow.test")
    async with DnsServer(ZONE) as server:
        resolver = DnsResolver([("127.0.0.1", server.port)], timeout=20)
        strict = await start(resolver=resolver, auth={"timeout": 0.3})
        assert (await deliver(strict, content)).startswith("451 4.7.1 DMARC")
        relaxed = await start(resolver=resolver, auth={"timeout": 0.3, "dmarc": "relaxed"})
        assert (await deliver(relaxed, content)).startswith("250")
        (stored,) = await relaxed.inbox(people[0])
        assert b"dmarc=temperror" in stored


@pytest.mark.postgres
async def test_who_is_near_is_not_judged(start: Any, people: Any) -> None:
    async with DnsServer(ZONE) as server:
        service = await start(
            resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60), relay={"networks": ("198.51.100.0/24",)}
        )
        for client in ("127.0.0.1", "10.1.2.3", "198.51.100.7"):
            assert (await deliver(service, MESSAGE, client=client)).startswith("250")
        other = await start(
            resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60), auth={"listeners": ("smtp",)}
        )
        assert (await deliver(other, MESSAGE, client="192.0.2.7")).startswith("250")
        assert server.queries == []
    for content in await service.inbox(people[0]):
        assert b"Authentication-Results: mx.example.org" not in content, "nor may anybody forge that it was"


@pytest.mark.postgres
async def test_a_header_section_that_does_not_end_is_not_judged_in_part(start: Any, people: Any) -> None:
    async with DnsServer(ZONE) as server:
        service = await start(resolver=DnsResolver([("127.0.0.1", server.port)], timeout=60))
        answer = await deliver(service, b"X: y\r\n" * 200_000 + MESSAGE)
    assert answer.startswith("552 5.3.4")


def facts(**found: Any) -> AuthenticationFacts:
    return AuthenticationFacts("192.0.2.1", **found)


def spf(result: Spf, explanation: str = "") -> SpfResult:
    return SpfResult(result, "firm.test", "mailfrom", "a@firm.test", explanation=explanation)


def dmarc(result: Dmarc, disposition: Policy = Policy.NONE) -> DmarcResult:
    record = parse_record(b"v=DMARC1; p=%s" % disposition.value.encode())
    return DmarcResult(result, "firm.test", disposition, disposition, record=record, record_domain="firm.test")


@pytest.mark.parametrize(
    ("known", "modes", "reason", "code"),
    [
        ({}, {}, "accepted", ""),
        ({"iprev": iprev.IprevResult(iprev.Result.FAIL)}, {}, "accepted", ""),
        ({"iprev": iprev.IprevResult(iprev.Result.FAIL)}, {"iprev": "strict"}, "iprev-fail", "550 5.7.25"),
        ({"iprev": iprev.IprevResult(iprev.Result.TEMPERROR)}, {"iprev": "strict"}, "iprev-temperror", "451 4.7.25"),
        ({"spf": spf(Spf.FAIL)}, {}, "accepted", ""),
        ({"spf": spf(Spf.FAIL)}, {"spf": "strict"}, "spf-fail", "550 5.7.23"),
        ({"spf": spf(Spf.SOFTFAIL)}, {"spf": "strict"}, "accepted", ""),
        ({"spf": spf(Spf.PERMERROR)}, {"spf": "strict"}, "spf-permerror", "550 5.7.24"),
        ({"spf": spf(Spf.TEMPERROR)}, {"spf": "strict"}, "spf-temperror", "451 4.7.24"),
        ({"dkim": ()}, {"dkim": "strict"}, "accepted", ""),
        ({"dkim": (SignatureResult(Dkim.FAIL),)}, {}, "accepted", ""),
        ({"dkim": (SignatureResult(Dkim.FAIL),)}, {"dkim": "strict"}, "dkim-fail", "550 5.7.20"),
        ({"dkim": (SignatureResult(Dkim.FAIL), SignatureResult(Dkim.PASS))}, {"dkim": "strict"}, "accepted", ""),
        ({"dkim": (SignatureResult(Dkim.TEMPERROR),)}, {"dkim": "strict"}, "dkim-temperror", "451 4.7.20"),
        ({"arc": ArcResult(Arc.FAIL)}, {}, "accepted", ""),
        ({"arc": ArcResult(Arc.FAIL)}, {"arc": "strict"}, "arc-fail", "550 5.7.29"),
        ({"dmarc": dmarc(Dmarc.FAIL, Policy.REJECT)}, {}, "dmarc-reject", "550 5.7.1"),
        ({"dmarc": dmarc(Dmarc.FAIL, Policy.QUARANTINE)}, {}, "dmarc-junk", "junk"),
        ({"dmarc": dmarc(Dmarc.FAIL)}, {}, "accepted", ""),
        ({"dmarc": dmarc(Dmarc.FAIL, Policy.REJECT)}, {"dmarc": "relaxed"}, "dmarc-junk", "junk"),
        ({"dmarc": dmarc(Dmarc.TEMPERROR, Policy.REJECT)}, {}, "dmarc-temperror", "451 4.7.1"),
        ({"dmarc": dmarc(Dmarc.TEMPERROR)}, {}, "accepted", ""),
        ({"dmarc": dmarc(Dmarc.TEMPERROR, Policy.REJECT)}, {"dmarc": "relaxed"}, "accepted", ""),
        ({"dmarc": DmarcResult(Dmarc.PERMERROR)}, {}, "dmarc-permerror", "550 5.7.1"),
        ({"dmarc": DmarcResult(Dmarc.PERMERROR)}, {"dmarc": "relaxed"}, "accepted", ""),
        (
            {"dmarc": dmarc(Dmarc.FAIL, Policy.REJECT), "arc": ArcResult(Arc.PASS, sealers=("x.test", "list.test"))},
            {"trusted_sealers": ("List.test",)},
            "accepted",
            "",
        ),
        (
            {"dmarc": dmarc(Dmarc.FAIL, Policy.REJECT), "arc": ArcResult(Arc.PASS, sealers=("list.test", "x.test"))},
            {"trusted_sealers": ("list.test",)},
            "dmarc-reject",
            "550 5.7.1",
        ),
        (
            {"spf": spf(Spf.TEMPERROR), "dmarc": dmarc(Dmarc.FAIL, Policy.REJECT)},
            {"spf": "strict"},
            "dmarc-reject",
            "550 5.7.1",
        ),
    ],
)
def test_verdicts(known: Any, modes: Any, reason: str, code: str) -> None:
    verdict = judge(facts(**known), AuthenticationSettings(**modes))
    told = "junk" if verdict.junk else f"{verdict.refusal.code} {verdict.refusal.status}" if verdict.refusal else ""
    assert (verdict.reason, told) == (reason, code)


def test_an_explanation_is_told_as_theirs() -> None:
    verdict = judge(facts(spf=spf(Spf.FAIL, "see http://firm.test " + "x" * 500)), AuthenticationSettings(spf="strict"))
    assert verdict.refusal is not None
    line = verdict.refusal.encode()
    assert line.startswith(b"550 5.7.23 SPF: firm.test explains: see http://firm.test xxx")
    assert len(line) <= 512


def test_settings_that_do_not_fit_together() -> None:
    with pytest.raises(ValidationError, match="DMARC judges by SPF and DKIM"):
        AuthenticationSettings(spf="off")
    AuthenticationSettings(spf="off", dmarc="off")


class Ticks:
    now = 0.0

    def monotonic(self) -> float:
        return self.now

    def time(self) -> float:
        return self.now


async def test_the_public_suffix_list_may_be_renewed(tmp_path: Path) -> None:
    path, clock, log = tmp_path / "list.dat", Ticks(), structlog.get_logger()
    path.write_text("// ===BEGIN ICANN DOMAINS===\ntest\n", encoding="utf-8")
    suffixes = SuffixFile(path, clock, log)
    assert (await suffixes.current()).organizational_domain("a.b.c.test") == "c.test"
    path.write_text("// ===BEGIN ICANN DOMAINS===\ntest\nc.test\n", encoding="utf-8")
    os.utime(path, (1, 1))
    assert (await suffixes.current()).organizational_domain("a.b.c.test") == "c.test"
    clock.now += RECHECK
    assert (await suffixes.current()).organizational_domain("a.b.c.test") == "b.c.test"
    path.unlink()
    clock.now += RECHECK
    assert (await suffixes.current()).organizational_domain("a.b.c.test") == "b.c.test"
    with pytest.raises(SettingsError, match="public-suffix-list"):
        SuffixFile(path, clock, log)
