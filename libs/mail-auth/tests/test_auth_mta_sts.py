"""MTA-STS records and policies as they are published, and as nobody should publish them (RFC 8461)."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_auth.mta_sts import MAX_AGE, MAX_POLICY, MalformedPolicy, allows, parse_policy, policy_id
from posthorn_model.mta_sts import StsPolicy

POLICY = b"version: STSv1\r\nmode: enforce\r\nmx: mail.example.com\r\nmx: *.example.net\r\nmax_age: 604800\r\n"
READ = StsPolicy("enforce", ("mail.example.com", "*.example.net"), 604_800)


@pytest.mark.parametrize(
    ("texts", "identity"),
    [
        ([b"v=STSv1; id=20160831085700Z;"], "20160831085700Z"),
        ([b"v=spf1 -all", b"v=STSv1;id=1"], "1"),
        ([b"v=STSv1; id=1; more=x"], "1"),
        ([], None),
        ([b"v=STSv1; id=1", b"v=STSv1; id=2"], None),
        ([b"v=STSv2; id=1"], None),
        ([b" v=STSv1; id=1"], None),
        ([b"v=STSv1; id=a-b"], None),
        ([b"v=STSv1; id=" + b"1" * 33], None),
        ([b"v=STSv1; id="], None),
        ([b"v=STSv1; id=1; id=2"], None),
        ([b"v=STSv1; \xff"], None),
    ],
)
def test_the_record_tells_the_id(texts: list[bytes], identity: str | None) -> None:
    assert policy_id(texts) == identity


@pytest.mark.parametrize(
    ("body", "policy"),
    [
        (POLICY, READ),
        (POLICY.replace(b"\r\n", b"\n").rstrip(), READ),
        (b"mode:enforce\nversion:STSv1\nmx:Mail.Example.COM.\nmx: *.example.net\nmax_age: 604800\nother: x\n", READ),
        (POLICY + b"mode: none\nmax_age: 1\n", READ),
        (b"version: STSv1\nmode: none\nmax_age: 0\n", StsPolicy("none", (), 0)),
        (b"version: STSv1\nmode: testing\nmx: a\nmx: a\nmax_age: 9999999999\n", StsPolicy("testing", ("a",), MAX_AGE)),
    ],
)
def test_policies_are_read(body: bytes, policy: StsPolicy) -> None:
    assert parse_policy(body) == policy


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"STSv1", b"STSv2", "version"),
        (b"enforce", b"strict", "mode"),
        (b"604800", b"-1", "max_age"),
        (b"604800", b"1" * 11, "max_age"),
        (b"mx: mail.example.com\r\nmx: *.example.net\r\n", b"", "no mail exchangers"),
        (b"*.example.net", b"*", "no host name"),
        (b"*.example.net", b"a.*.net", "no host name"),
        (b"*.example.net", b"*.*.net", "no host name"),
        (b"*.example.net", b"", "no host name"),
        (b"mode", b"<html>\nmode", "no field"),
        (b"mode", b"\xff", "UTF-8"),
        (b"mode", b"x:" + b" " * MAX_POLICY + b"\nmode", "too long"),
        (b"mode", b"\n" * 2000 + b"mode", "too many lines"),
        (b"mode", b"mx: a%d\n" % 1 + b"".join(b"mx: a%d\n" % n for n in range(250)) + b"mode", "too many"),
    ],
)
def test_what_is_no_policy_is_refused(old: bytes, new: bytes, reason: str) -> None:
    with pytest.raises(MalformedPolicy, match=reason):
        parse_policy(POLICY.replace(old, new))


@pytest.mark.parametrize(
    ("host", "allowed"),
    [
        ("mail.example.com", True),
        ("MAIL.example.com.", True),
        ("mx.example.net", True),
        ("example.net", False),
        ("a.mx.example.net", False),
        ("other.example.com", False),
        ("", False),
    ],
)
def test_patterns_stand_for_one_label(host: str, allowed: bool) -> None:
    assert allows(READ, host) is allowed


@given(st.binary(max_size=400))
def test_any_octets_are_a_policy_or_none(body: bytes) -> None:
    try:
        policy = parse_policy(body)
    except MalformedPolicy:
        return
    assert policy.mode == "none" or policy.mx
