"""What strangers send: no exception escapes, few questions are asked, and no pattern repeats what repeats."""

import asyncio
import importlib
import pkgutil
import re
from collections.abc import Iterator
from ipaddress import IPv4Address, IPv6Address
from re import _constants, _parser  # type: ignore[attr-defined]
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import posthorn_mail_auth
from posthorn_mail_auth.arc.validating import validate
from posthorn_mail_auth.dkim.verifying import MAX_SIGNATURES, Result, verify
from posthorn_mail_auth.dmarc.checking import author_domains
from posthorn_mail_auth.message import split
from posthorn_mail_auth.results import strip
from posthorn_mail_auth.spf.checking import MAX_LOOKUPS, check
from posthorn_model.resolving import Answer, MailExchanger, Outcome

FIELDS = st.lists(
    st.tuples(
        st.sampled_from([b"From", b"DKIM-Signature", b"ARC-Seal", b"Authentication-Results", b"X"]),
        st.lists(
            st.one_of(
                st.sampled_from(
                    [b"v=1;", b"a=rsa-sha256;", b"b=AAAA;", b"bh=AAAA;", b"d=a.test;", b"s=s;", b"h=from;"]
                ),
                st.sampled_from(
                    [b"c=relaxed;", b"l=0;", b"\r\n ", b"<a@b.test>,", b"i=1;", b"cv=none;", b"\xff", b";"]
                ),
                st.binary(max_size=5),
            ),
            max_size=12,
        ).map(b"".join),
    ),
    max_size=12,
).map(lambda fields: b"".join(name + b":" + value + b"\r\n" for name, value in fields))
TEXTS = st.lists(
    st.one_of(
        st.sampled_from(
            [b"v=spf1 ", b"include:a.test ", b"a ", b"mx ", b"ptr ", b"exists:%{ir}.%{p} ", b"redirect=b.test "]
        ),
        st.sampled_from([b"v=DKIM1; ", b"k=ed25519; ", b"p=AAAA; ", b"exp=%{d} ", b"-all ", b"ip4:1.2.3.4/8 "]),
        st.binary(max_size=6),
    ),
    max_size=15,
).map(b"".join)


class Strange:
    """DNS in the hands of somebody else: every name has these records."""

    def __init__(self, text: bytes, outcome: Outcome) -> None:
        self.text = text
        self.outcome = outcome
        self.asked = 0

    def _answer(self, records: tuple[Any, ...]) -> Answer[Any]:
        self.asked += 1
        return Answer(self.outcome, records if self.outcome is Outcome.RECORDS else ())

    async def texts(self, name: str) -> Answer[bytes]:
        return self._answer((self.text,))

    async def ipv4(self, name: str) -> Answer[IPv4Address]:
        return self._answer((IPv4Address("192.0.2.9"),))

    async def ipv6(self, name: str) -> Answer[IPv6Address]:
        return self._answer(())

    async def exchangers(self, name: str) -> Answer[MailExchanger]:
        return self._answer(tuple(MailExchanger(0, f"{number}.test") for number in range(10)))

    async def names_of(self, address: IPv4Address | IPv6Address) -> Answer[str]:
        return self._answer(tuple(f"{number}.test" for number in range(50)))


@given(FIELDS, st.binary(max_size=50), TEXTS, st.sampled_from(Outcome))
def test_any_message_has_results(head: bytes, body: bytes, text: bytes, outcome: Outcome) -> None:
    message = split(head + b"\r\n" + body)
    dns = Strange(text, outcome)
    found = asyncio.run(verify(message, dns, now=0.0))
    assert len(found) <= MAX_SIGNATURES
    assert dns.asked <= MAX_SIGNATURES
    assert not [each for each in found if each.result is Result.PASS], "nobody can sign with the key AAAA"
    asyncio.run(validate(message, dns))
    author_domains(message)
    strip(head, "mx.test")


@given(TEXTS, st.text(max_size=10), st.text(max_size=10), st.sampled_from(["192.0.2.1", "2001:db8::1"]))
def test_any_record_has_a_result(text: bytes, local: str, hello: str, address: str) -> None:
    dns = Strange(b"v=spf1 " + text, Outcome.RECORDS)
    found = asyncio.run(check(dns, address=address, sender=f"{local}@a.test", hello=hello))
    assert found.explanation.isascii()
    assert dns.asked <= MAX_LOOKUPS * 12 + 15


def patterns() -> Iterator[tuple[str, re.Pattern[Any]]]:
    prefix = "posthorn_mail_auth."
    for module in pkgutil.walk_packages(posthorn_mail_auth.__path__, prefix):
        for name, value in vars(importlib.import_module(module.name)).items():
            if isinstance(value, re.Pattern):
                yield f"{module.name.removeprefix(prefix)}.{name}", value


def runs_in_runs(tree: Any, inside: bool = False) -> bool:
    """Whether a repeat without bound stands in another one: what can take exponential time."""
    for operation, argument in tree:
        if operation in (_constants.MAX_REPEAT, _constants.MIN_REPEAT):
            endless = argument[1] is _constants.MAXREPEAT
            if (endless and inside) or runs_in_runs(argument[2], inside or endless):
                return True
        elif (operation is _constants.SUBPATTERN and runs_in_runs(argument[3], inside)) or (
            operation is _constants.BRANCH and any(runs_in_runs(branch, inside) for branch in argument[1])
        ):
            return True
    return False


@pytest.mark.parametrize("pattern", [pytest.param(pattern, id=name) for name, pattern in patterns()])
def test_no_pattern_repeats_what_repeats(pattern: re.Pattern[Any]) -> None:
    assert not runs_in_runs(_parser.parse(pattern.pattern, pattern.flags))


def test_the_look_itself() -> None:
    assert runs_in_runs(_parser.parse("(?:a+b*)+"))
    assert runs_in_runs(_parser.parse("x(y|(?:z+)*)"))
    assert not runs_in_runs(_parser.parse("a+b*(?:c{1,5})+[de]*"))
