"""TLSA records against real chains: which are usable, which vouch for a chain, and what hostile ones do."""

import hashlib
from datetime import UTC, datetime, timedelta

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_auth.dane import MAX_DATA, Tlsa, Unauthentic, authenticate, usable
from posthorn_testkit.authorities import Authority, Identity, self_signed

NOW = datetime.now(UTC)
ROOT = Authority("root")
BETWEEN = Authority("between", ROOT)
GOOD = BETWEEN.issue("mx.example.net")
NAMES = ("mx.example.net", "example.net")


def tlsa(usage: int, selector: int, matching: int, identity: Identity, place: int = 0) -> Tlsa:
    """A record that speaks of a certificate of the chain."""
    certificate = identity.chain[place]
    data = certificate.public_bytes(Encoding.DER)
    if selector:
        data = certificate.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return Tlsa(usage, selector, matching, data if not matching else hashlib.new(f"sha{256 * matching}", data).digest())


def judged(identity: Identity, *records: Tlsa, names: tuple[str, ...] = NAMES, now: datetime = NOW) -> str:
    """Why the chain is refused; "" when it is not."""
    try:
        authenticate(identity.der, usable(records), names, now)
    except Unauthentic as error:
        return str(error)
    return ""


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize("matching", [0, 1, 2])
@pytest.mark.parametrize("usage", [2, 3])
def test_each_form_of_record_vouches(usage: int, selector: int, matching: int) -> None:
    for place in (0,) if usage == 3 else (1, 2):
        assert judged(GOOD, tlsa(usage, selector, matching, GOOD, place)) == ""
    other = BETWEEN.issue("mx.example.net")
    assert judged(other, tlsa(3, selector, matching, GOOD)) == "no TLSA record matches what the server showed"


def test_for_the_end_entity_neither_name_nor_dates_count() -> None:
    old = self_signed("elsewhere.example", days=1, age=30)
    assert judged(old, tlsa(3, 1, 1, old)) == ""
    assert judged(old, tlsa(3, 1, 1, GOOD), tlsa(3, 0, 1, old)) == "", "one of them is enough"


@pytest.mark.parametrize(
    ("identity", "reason"),
    [
        (BETWEEN.issue("mx.elsewhere.example"), "subjectAltName"),
        (BETWEEN.issue("mx.example.net", days=2, age=10), "not valid at validation time"),
        (Authority("root").issue("mx.example.net"), "no TLSA record matches"),
        (Authority("forger", ROOT, days=0.5).issue("mx.example.net"), "not valid at validation time"),
    ],
    ids=["name", "expired", "other-authority", "expired-authority"],
)
def test_an_authority_vouches_for_right_chains_alone(identity: Identity, reason: str) -> None:
    assert reason in judged(identity, tlsa(2, 1, 1, GOOD, 2))


def test_a_server_can_issue_nothing() -> None:
    forged = Authority("forged")
    forged.key, forged.name = GOOD.key, GOOD.chain[0].subject
    identity = Identity(forged.key, [forged.issue("mx.example.net").chain[0], *GOOD.chain])
    assert "basicConstraints" in judged(identity, tlsa(2, 1, 1, GOOD, 2))


def test_an_authority_need_not_be_shown_when_the_record_holds_it() -> None:
    short = ROOT.issue("mx.example.net", chain=False)
    whole = ROOT.issue("mx.example.net")
    assert judged(short, tlsa(2, 0, 0, whole, 1)) == ""
    assert "no TLSA record matches" in judged(short, tlsa(2, 0, 1, whole, 1))


def test_any_of_the_names_will_do() -> None:
    for name in ("example.net", "*.example.net"):
        assert judged(ROOT.issue(name), tlsa(2, 1, 1, ROOT.issue(name), 1)) == ""
    assert judged(GOOD, tlsa(2, 1, 1, GOOD, 1), names=("_", "mx.example.net")) == "", (
        "a name that is none matches nothing"
    )


@pytest.mark.parametrize(
    "record",
    [
        Tlsa(0, 1, 1, b"x" * 32),
        Tlsa(1, 0, 1, b"x" * 32),
        Tlsa(4, 0, 1, b"x" * 32),
        Tlsa(3, 2, 1, b"x" * 32),
        Tlsa(3, 1, 3, b"x" * 32),
        Tlsa(3, 1, 1, b"x" * 31),
        Tlsa(3, 1, 2, b"x" * 32),
        Tlsa(3, 1, 0, b""),
        Tlsa(3, 1, 0, b"x" * (MAX_DATA + 1)),
    ],
)
def test_unusable_records_are_left_out(record: Tlsa) -> None:
    good = tlsa(3, 1, 1, GOOD)
    assert usable([record, good, good]) == [good]


def test_the_strongest_digest_counts() -> None:
    """RFC 7671 9: a record with a weaker digest cannot stand in for one that does not match."""
    stronger = Tlsa(3, 1, 2, b"x" * 64)
    assert usable([tlsa(3, 1, 1, GOOD), stronger]) == [stronger]
    assert judged(GOOD, tlsa(3, 1, 1, GOOD), stronger) != ""
    assert judged(GOOD, tlsa(3, 0, 1, GOOD), stronger) == "", "of another selector"


@given(st.lists(st.binary(max_size=200), max_size=3), st.binary(min_size=1, max_size=200))
def test_octets_that_are_no_certificates_are_refused(chain: list[bytes], data: bytes) -> None:
    records = [Tlsa(2, 0, 0, data), Tlsa(3, 1, 1, b"x" * 32)]
    with pytest.raises(Unauthentic):
        authenticate(chain, records, NAMES, NOW + timedelta(days=1))
    with pytest.raises(Unauthentic):
        authenticate([*GOOD.der[:1], *chain], records, NAMES, NOW)
