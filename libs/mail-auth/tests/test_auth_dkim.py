"""DKIM: the vectors of RFC 8463; what is signed is verified, what is changed is not, what cannot be used says why."""

import base64
import contextlib
import hashlib
import re
from collections.abc import Sequence
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_auth.dkim.keys import InvalidKey, parse_key
from posthorn_mail_auth.dkim.signature import InvalidSignature, parse_signature, without_value
from posthorn_mail_auth.dkim.signing import SigningKey, sign
from posthorn_mail_auth.dkim.verifying import MAX_SIGNATURES, Result, SignatureResult, verify
from posthorn_mail_auth.message import split

NOW = 1_800_000_000
# RFC 8463 A.1 to A.3.
VECTOR = b"""\
DKIM-Signature: v=1; a=ed25519-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=brisbane; t=1528637909; h=from : to :
 subject : date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=/gCrinpcQOoIfuHNQIbq4pgh9kyIK3AQUdt9OdqQehSwhEIug4D11Bus
 Fa3bT3FY5OsU7ZbnKELq+eXdp1Q1Dw==
DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed;
 d=football.example.com; i=@football.example.com;
 q=dns/txt; s=test; t=1528637909; h=from : to : subject :
 date : message-id : from : subject : date;
 bh=2jUSOH9NhtVGCQWNr9BrIAPreKQjO6Sn7XIkfJVOzv8=;
 b=F45dVWDfMbQDGHJFlXUNB2HKfbCeLRyhDXgFpEL8GwpsRe0IeIixNTe3
 DhCVlUrSjV4BwcVcOF6+FF3Zo9Rpo1tFOeS9mPYQTnGdaSGsgeefOsk2Jz
 dA+L10TeYt9BgDfQNZtKdN1WO//KgIqXP7OdEFE4LjFYNcUxZQ4FADY+8=
From: Joe SixPack <joe@football.example.com>
To: Suzie Q <suzie@shopping.example.net>
Subject: Is dinner ready?
Date: Fri, 11 Jul 2003 21:00:37 -0700 (PDT)
Message-ID: <20030712040037.46341.5F8J@football.example.com>

Hi.

We lost the game.  Are you hungry yet?

Joe.
""".replace(b"\n", b"\r\n")
VECTOR_ZONE = {
    "brisbane._domainkey.football.example.com": {
        "TXT": ['"v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo="']
    },
    "test._domainkey.football.example.com": {
        "TXT": [
            '"v=DKIM1; k=rsa; '
            "p=MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCBiQKBgQDkHlOQoBTzWRiGs5V6NpP3idY6Wk08a5qhdR6wy5bdOKb2jLQi"
            '" "'
            "Y/J16JYi0Qvx/byYzCNb3W91y3FutACDfzwQ/BC/e/8uBsCR+yz1Lxj+PL6lHvqMKrM3rG4hstT5QjvHO9PzoxZyVYLzBfO2EeC3Ip3G"
            '+2kryOTIKT+l/K4w3QIDAQAB"'
        ]
    },
}
RSA = rsa.generate_private_key(65537, 2048)
ED25519 = Ed25519PrivateKey.generate()
KEYS = [SigningKey("example.org", "r", RSA), SigningKey("example.org", "e", ED25519)]
MESSAGE = (
    b"Received: from there\r\nFrom: Ann <ann@example.org>\r\nTo: bob@example.net\r\nSubject: a  long\r\n\tsubject\r\n"
    b"Date: Fri, 11 Jul 2003 21:00:37 -0700\r\n\r\nHello,\r\n\r\nBob  and\teve. \r\n\r\n"
)


def der(key: rsa.RSAPrivateKey) -> str:
    return base64.b64encode(key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()


def texts(record: str) -> dict[str, list[str]]:
    """A TXT record in strings of 200."""
    return {"TXT": [" ".join(f'"{record[start : start + 200]}"' for start in range(0, len(record), 200))]}


RSA_KEY = f"v=DKIM1; p={der(RSA)}"
ED25519_KEY = "v=DKIM1; k=ed25519; p=" + base64.b64encode(ED25519.public_key().public_bytes_raw()).decode()
ZONE = {"r._domainkey.example.org": texts(RSA_KEY), "e._domainkey.example.org": texts(ED25519_KEY)}


async def results(
    serve: Any, content: bytes, zone: Any = ZONE, timeout: float = 20.0, **options: Any
) -> Sequence[SignatureResult]:
    _, resolver = await serve(zone, timeout=timeout)
    return await verify(split(content), resolver, now=NOW, **options)


async def only(serve: Any, content: bytes, zone: Any = ZONE, **options: Any) -> tuple[str, str]:
    (result,) = await results(serve, content, zone, **options)
    return result.result.value, result.reason


def by_hand(tags: str, content: bytes = MESSAGE, body: bytes = b"Hello,\r\n\r\nBob  and\teve. \r\n") -> bytes:
    """Sign with the RSA key and tags as given, in the simple forms; From is signed."""
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    field = f"DKIM-Signature: v=1; d=example.org; s=r; h=from; bh={digest}; {tags}; b=".encode()
    sender = re.search(rb"From: [^\r]*\r\n", content)
    assert sender is not None
    value = base64.b64encode(RSA.sign(sender[0] + field, PKCS1v15(), SHA256()))
    return field + value + b"\r\n" + content


async def test_the_vectors_of_rfc_8463(serve: Any) -> None:
    found = await results(serve, VECTOR, VECTOR_ZONE)
    assert [(each.result, each.algorithm, each.bits, each.identity) for each in found] == [
        (Result.PASS, "ed25519-sha256", 256, "@football.example.com"),
        (Result.PASS, "rsa-sha256", 1024, "@football.example.com"),
    ]
    assert found[0].value == "/gCrinpc"


async def test_what_is_signed_is_verified(serve: Any) -> None:
    fields = sign(MESSAGE, KEYS, at=NOW, lifetime=3600)
    assert all(len(line) <= 78 for line in fields.split(b"\r\n"))
    found = await results(serve, fields + MESSAGE)
    assert [(each.result, each.selector, each.domain) for each in found] == [
        (Result.PASS, "r", "example.org"),
        (Result.PASS, "e", "example.org"),
    ]


async def test_relaxed_signatures_bear_what_servers_do_to_white_space(serve: Any) -> None:
    changed = MESSAGE.replace(b"Subject: a  long\r\n\tsubject", b"SUBJECT:a long subject ")
    changed = changed.replace(b"Bob  and\teve. \r\n\r\n", b"Bob and   eve.\r\n")
    found = await results(serve, b"Received: another\r\n" + sign(MESSAGE, KEYS, at=NOW) + changed)
    assert [each.result for each in found] == [Result.PASS, Result.PASS]


@pytest.mark.parametrize(
    ("old", "new", "reason"),
    [
        (b"eve.", b"Eve.", "body hash did not verify"),
        (b"Ann", b"Anne", "signature did not verify"),
        (b"Subject: a", b"Subject: b", "signature did not verify"),
        (b"From:", b"From: evil@example.com\r\nFrom:", "signature did not verify"),
        (b"Date:", b"Subject: added\r\nDate:", "signature did not verify"),
        (b"\r\n\r\nHello", b"\r\nCc: added@example.com\r\n\r\nHello", "signature did not verify"),
        (b"t=1800000000", b"t=1800000001", "signature did not verify"),
    ],
)
async def test_what_is_changed_fails(serve: Any, old: bytes, new: bytes, reason: str) -> None:
    content = sign(MESSAGE, KEYS, at=NOW) + MESSAGE
    assert old in content
    found = await results(serve, content.replace(old, new))
    assert [(each.result, each.reason) for each in found] == [(Result.FAIL, reason)] * 2


async def test_a_message_without_author_is_not_signed() -> None:
    assert sign(b"To: bob@example.net\r\n\r\nHello\r\n", KEYS, at=NOW) == b""
    assert sign(MESSAGE, [], at=NOW) == b""
    assert "private" not in repr(KEYS[0])


async def test_times(serve: Any) -> None:
    assert await only(serve, by_hand(f"a=rsa-sha256; t={NOW - 10}; x={NOW + 10}")) == ("pass", "")
    assert await only(serve, by_hand(f"a=rsa-sha256; x={NOW - 10}")) == ("fail", "signature expired")
    assert await only(serve, by_hand(f"a=rsa-sha256; t={NOW + 7200}")) == ("fail", "signature is from the future")
    assert (await only(serve, by_hand("a=rsa-sha256; t=20; x=10")))[0] == "permerror"
    assert await only(serve, by_hand(f"a=rsa-sha256; x={'9' * 76}")) == ("pass", "")


async def test_a_body_that_is_signed_in_part(serve: Any) -> None:
    """RFC 6376 3.4.5, 8.2."""
    content = by_hand("a=rsa-sha256; l=6", body=b"Hello,")
    assert await only(serve, content) == ("policy", "a part of the body is not signed")
    assert await only(serve, content, partial_bodies=True) == ("pass", "")
    whole = by_hand("a=rsa-sha256; l=26")
    assert await only(serve, whole) == ("pass", "")
    assert await only(serve, whole + b"more\r\n") == ("policy", "a part of the body is not signed")
    assert (await only(serve, by_hand("a=rsa-sha256; l=99")))[1] == "the body is shorter than was signed"


async def test_identities(serve: Any) -> None:
    strict = {"r._domainkey.example.org": texts(f"{RSA_KEY}; t=s")}
    below = by_hand("a=rsa-sha256; i=list@news.example.org")
    assert await only(serve, below) == ("pass", "")
    assert (await only(serve, below, strict)) == ("permerror", "the key is not for subdomains")
    assert await only(serve, by_hand("a=rsa-sha256; i=ann@Example.org"), strict) == ("pass", "")
    assert (await only(serve, by_hand("a=rsa-sha256; i=a@badexample.org")))[0] == "permerror"


async def test_old_algorithms_and_keys_are_not_taken(serve: Any) -> None:
    """RFC 8301."""
    assert await only(serve, by_hand("a=rsa-sha1")) == ("policy", "rsa-sha1 is no longer taken")
    weak = "MFwwDQYJKoZIhvcNAQEBBQADSwAwSAJBAKj34GkxFhD90vcNLYLInFEX6Ppy1tPf9Cnzj4p4"
    weak += "WGeKLs1Pt8QuKUpRKfFLfRYC9AIKjbJTWit+CqvjWYzvQwECAwEAAQ=="
    weak_zone = {"r._domainkey.example.org": texts(f"p={weak}")}
    assert await only(serve, by_hand("a=rsa-sha256"), weak_zone) == ("policy", "the key has 512 bits only")
    number = RSA.public_key().public_numbers()
    slow = rsa.RSAPublicNumbers(number.n - 2, number.n).public_key()
    text = base64.b64encode(slow.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).decode()
    slow_zone = {"r._domainkey.example.org": texts(f"p={text}")}
    assert await only(serve, by_hand("a=rsa-sha256"), slow_zone) == ("policy", "the key is larger than is checked")


@pytest.mark.parametrize(
    ("record", "result", "reason"),
    [
        ("v=DKIM1; p=", "permerror", "the key was revoked"),
        ("v=DKIM2; p=abcd", "permerror", "key record: unknown version"),
        ("k=rsa", "permerror", "key record: no key in it"),
        ("p=!!!", "permerror", "key record: the key cannot be read"),
        ("p=AAAA", "permerror", "key record: the key cannot be read"),
        ("k=dsa; p=AAAA", "permerror", "key record: unknown kind of key"),
        (ED25519_KEY, "permerror", "the key is of another kind"),
        (f"h=sha1; {RSA_KEY[9:]}", "permerror", "key record: sha256 is not allowed"),
        (f"s=tlsrpt; {RSA_KEY[9:]}", "permerror", "key record: not for mail"),
        ("just words", "permerror", "key record: syntax error in the tag list"),
        (f"s=tlsrpt : email; h=sha1:sha256; n=notes; {RSA_KEY[9:]}", "pass", ""),
    ],
    # Not by the keys, which are others in each process.
    ids=lambda value: value.partition("p=")[0],
)
async def test_keys(serve: Any, record: str, result: str, reason: str) -> None:
    zone = {"r._domainkey.example.org": texts(record)}
    assert await only(serve, by_hand("a=rsa-sha256"), zone) == (result, reason)


async def test_keys_that_dns_does_not_give(serve: Any) -> None:
    content = by_hand("a=rsa-sha256")
    name = "r._domainkey.example.org"
    assert await only(serve, content, {}) == ("permerror", "no key is published")
    assert await only(serve, content, {name: {"A": ["192.0.2.1"]}}) == ("permerror", "no key is published")
    for fault in ({"RCODE": ["SERVFAIL"]}, {"SILENT": []}, {"GARBAGE": []}):
        found = await only(serve, content, {name: fault}, timeout=1.5)
        assert found == ("temperror", "no answer from DNS for the key")
    several = {name: {"TXT": ['"hello"', *texts(RSA_KEY)["TXT"]]}}
    assert await only(serve, content, several) == ("pass", "")


async def test_signatures_beyond_the_limit_are_not_looked_at(serve: Any) -> None:
    server, resolver = await serve(ZONE)
    content = b"".join(
        f"DKIM-Signature: v=1; a=rsa-sha256; d=example.org; s=s{number}; h=from; bh=AAAA; b=AAAA\r\n".encode()
        for number in range(200)
    )
    found = await verify(split(content + MESSAGE), resolver, now=NOW)
    assert len(found) == MAX_SIGNATURES
    assert len(server.queries) == MAX_SIGNATURES


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"v=1",
        b"v=1; a=rsa-sha256; d=example.org; s=r; h=to; bh=AAAA; b=AAAA",
        b"v=2; a=rsa-sha256; d=example.org; s=r; h=from; bh=AAAA; b=AAAA",
        b"v=1; v=1; a=rsa-sha256; d=example.org; s=r; h=from; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=org; s=r; h=from; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=example.org; s=a/b; h=from; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=example.org; s=r; h=from; bh=AAAA; b=A-A",
        b"v=1; a=rsa-sha256; c=odd; d=example.org; s=r; h=from; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; q=http; d=example.org; s=r; h=from; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; l=x; d=example.org; s=r; h=from; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=example.org; s=r; h=from::to; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=\xc3\xa9.org; s=r; h=from; bh=AAAA; b=AAAA",
        b"v=1; a=rsa-sha256; d=example.org; s=r; h=" + b"from:" * 1001 + b"from; bh=AAAA; b=AAAA",
    ],
)
async def test_signatures_that_are_none(serve: Any, value: bytes) -> None:
    with pytest.raises(InvalidSignature):
        parse_signature(value)
    (found,) = await results(serve, b"DKIM-Signature: " + value + b"\r\n" + MESSAGE, {})
    assert found.result is Result.PERMERROR


def test_the_value_that_does_not_sign_itself() -> None:
    for raw, known in [
        (b"DKIM-Signature: a=b; bh=cd; b=ef gh;\r\n\tz=b=c\r\n", b"DKIM-Signature: a=b; bh=cd; b=;\r\n\tz=b=c\r\n"),
        (b"DKIM-Signature: b = ef\r\n\tgh\r\n", b"DKIM-Signature: b =\r\n"),
        (b"DKIM-Signature: bh=cd\r\n", b"DKIM-Signature: bh=cd\r\n"),
    ]:
        assert without_value(raw) == known


TAGS = st.lists(
    st.one_of(
        st.sampled_from([b"v=1;", b"a=rsa-sha256;", b"d=example.org;", b"s=r;", b"h=from;", b"bh=AAAA;", b"b=AAAA;"]),
        st.sampled_from(
            [b"l=0;", b"t=1;", b"x=2;", b"i=@example.org;", b"c=relaxed/simple;", b";", b"=", b" ", b"\r\n "]
        ),
        st.binary(max_size=8),
    ),
    max_size=20,
).map(b"".join)


@given(TAGS)
def test_no_other_error_for_any_octets(value: bytes) -> None:
    for read, error in ((parse_signature, InvalidSignature), (parse_key, InvalidKey)):
        with contextlib.suppress(error):
            read(value)
    without_value(b"DKIM-Signature:" + value)


@given(st.binary(max_size=300), st.binary(max_size=300))
def test_signing_takes_any_octets(head: bytes, body: bytes) -> None:
    content = head + b"\r\nFrom: a@example.org\r\n\r\n" + body
    written = sign(content, KEYS[1:], at=NOW)
    assert written == b"" or written.endswith(b"\r\n")
