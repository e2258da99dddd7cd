"""SPF beside the public suite: hostile records, limits on questions, and text of others that we pass on."""

import asyncio
import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_auth.spf.checking import Result, SpfResult, check
from posthorn_mail_auth.spf.macros import MAX_EXPANDED, InvalidMacro, parse_macros
from posthorn_mail_auth.spf.record import InvalidRecord, parse_record

VALUES = dict.fromkeys("slodiphvcrt", "a.b-c")


async def checked(
    serve: Any, zone: Any, sender: str = "ann@example.org", timeout: float = 20.0, **options: str
) -> SpfResult:
    _, resolver = await serve(zone, timeout=timeout)
    given = {"address": "192.0.2.1", "hello": "mx.example.org", **options}
    return await check(resolver, sender=sender, **given)


async def test_who_was_checked_and_why(serve: Any) -> None:
    zone = {"example.org": {"TXT": ['"v=spf1 ip4:192.0.2.0/24 -all"']}, "mx.example.org": {"TXT": ['"v=spf1 -all"']}}
    assert await checked(serve, zone) == SpfResult(
        Result.PASS, "example.org", "mailfrom", "ann@example.org", "ip4:192.0.2.0/24"
    )
    assert await checked(serve, zone, sender="") == SpfResult(
        Result.FAIL, "mx.example.org", "helo", "mx.example.org", "-all"
    )
    assert (await checked(serve, zone, address="::ffff:192.0.2.7")).result is Result.PASS
    assert (await checked(serve, zone, address="2001:db8::1")).result is Result.FAIL


async def test_an_explanation_is_bounded_and_printable(serve: Any) -> None:
    zone = {"example.org": {"TXT": ['"v=spf1 -all exp=why.example.org"']}}
    for text, known in [("\\010evil", ""), ("%{z}", ""), ("of %{i}", "of 192.0.2.1"), ("x" * 250, "x" * 250)]:
        zone["why.example.org"] = {"TXT": [f'"{text}"']}
        assert (await checked(serve, zone)).explanation == known
    zone["why.example.org"] = {"TXT": [" ".join([f'"{"y" * 250}"'] * 10)]}
    assert len((await checked(serve, zone)).explanation) == 500


async def test_a_hostile_domain_makes_few_questions(serve: Any) -> None:
    pointers = [f"p{number}.example.org." for number in range(100)]
    exchangers = [f"0 m{number}.example.org." for number in range(10)]
    record = '"v=spf1 ' + " ".join(["mx ptr", *[f"mx:x{number}.example.org" for number in range(9)]]) + '"'
    zone: dict[str, Any] = {
        "example.org": {"TXT": [record], "MX": exchangers},
        "1.2.0.192.in-addr.arpa": {"PTR": pointers},
        **{f"x{number}.example.org": {"MX": exchangers} for number in range(9)},
    }
    server, resolver = await serve(zone)
    found = await check(resolver, address="192.0.2.1", sender="a@example.org", hello="b.example.org")
    assert found.result is Result.PERMERROR
    assert len(server.queries) < 40


async def test_a_circle_of_includes_ends(serve: Any) -> None:
    zone = {f"{number}.example.org": {"TXT": [f'"v=spf1 include:{1 - number}.example.org -all"']} for number in (0, 1)}
    assert (await checked(serve, zone, sender="a@0.example.org")).result is Result.PERMERROR


async def test_silence_is_a_temporary_error_within_bounds(serve: Any) -> None:
    zone = {"example.org": {"TXT": ['"v=spf1 a:slow.example.org -all"']}, "slow.example.org": {"SILENT": []}}
    async with asyncio.timeout(60):
        assert (await checked(serve, zone, timeout=2.0)).result is Result.TEMPERROR


@pytest.mark.parametrize(
    ("text", "known"),
    [
        ("%{d}", "a.b-c"),
        ("%{d1}", "b-c"),
        ("%{dr}", "b-c.a"),
        ("%{dr-}", "c.a.b"),
        ("%{d1r.-}", "a"),
        ("x%%%_%-", "x% %20"),
        ("%{D}", "a.b-c"),
    ],
)
def test_macros(text: str, known: str) -> None:
    assert parse_macros(text).expand(VALUES) == known


@pytest.mark.parametrize("text", ["%", "%{", "%{d", "%{x}", "%{d0}", "%{d.r}", "%{c}", "a b", "\x7f", "é"])
def test_no_macros(text: str) -> None:
    with pytest.raises(InvalidMacro):
        parse_macros(text)


def test_an_expansion_is_bounded() -> None:
    assert len(parse_macros("%{s}" * 3000).expand(dict.fromkeys("s", "x" * 1000))) == MAX_EXPANDED


TERMS = st.lists(
    st.one_of(
        st.sampled_from(["all", "a", "mx", "ptr", "include:", "exists:", "ip4:", "ip6:", "redirect=", "exp=", "x="]),
        st.sampled_from(["-", "~", "a.org", "%{d}", "%{ir}", "/24", "//64", "1.2.3.4", "::1", " ", ".", "%"]),
        st.text(max_size=5),
    ),
    max_size=20,
).map("".join)


@given(TERMS)
def test_no_other_error_for_any_record(text: str) -> None:
    with contextlib.suppress(InvalidRecord):
        record = parse_record(b"v=spf1 " + text.encode("utf-8", "surrogatepass"))
        for mechanism in record.mechanisms:
            if mechanism.domain is not None:
                assert len(mechanism.domain.expand_name(VALUES)) <= 253
