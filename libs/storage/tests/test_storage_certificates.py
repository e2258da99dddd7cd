"""Certificates in the database: sealed keys, versions that tell of every change, fences, and the wrong secret."""

from datetime import UTC, datetime, timedelta

import pytest

from posthorn_model.errors import InvalidName, LeaseLost, NotFound, SecretMissing, WrongSecret
from posthorn_model.ids import Epoch
from posthorn_storage import Fence, Storage
from posthorn_storage.certificates import CertificateStore, NewCertificate
from posthorn_storage.certificates.sealing import KeyRing

OLD, NEW = "an old secret of the cluster", "a new secret of the cluster"
NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)


def new(name: str = "a", *, key: bytes = b"the key", default: bool = False) -> NewCertificate:
    return NewCertificate(
        name=name,
        names=["mail.example.org", "*.example.net"],
        chain=b"the chain",
        key=key,
        issuer="test authority",
        not_before=NOW,
        not_after=NOW + timedelta(days=90),
        default=default,
    )


@pytest.fixture
def certificates(storage: Storage) -> CertificateStore:
    return CertificateStore(storage._database, KeyRing([OLD]))


def with_secrets(store: CertificateStore, *secrets: str) -> CertificateStore:
    return CertificateStore(store._database, KeyRing(secrets))


def test_what_is_sealed_opens_for_the_same_purpose_only() -> None:
    ring = KeyRing([OLD])
    sealed = ring.seal(b"the key", "certificate a")
    assert b"the key" not in sealed
    assert ring.open(sealed, "certificate a") == b"the key"
    assert ring.seal(b"the key", "certificate a") != sealed
    with pytest.raises(WrongSecret, match="another one's place"):
        ring.open(sealed, "certificate b")


@pytest.mark.parametrize("place", range(0, 44, 3))
def test_a_changed_octet_is_noticed(place: int) -> None:
    ring = KeyRing([OLD])
    sealed = bytearray(ring.seal(b"the key", "a"))
    assert len(sealed) == 44
    sealed[place] ^= 1
    with pytest.raises(WrongSecret):
        ring.open(bytes(sealed), "a")
    for length in (0, 8, 9, 20, 30):
        with pytest.raises(WrongSecret):
            ring.open(bytes(sealed[:length]), "a")


def test_another_secret_is_told_with_what_to_do() -> None:
    sealed = KeyRing([OLD]).seal(b"the key", "a")
    with pytest.raises(WrongSecret, match=r"certificates\.former-secrets"):
        KeyRing([NEW]).open(sealed, "a")
    ring = KeyRing([NEW, OLD])
    assert ring.open(sealed, "a") == b"the key"
    assert not ring.is_current(sealed)
    assert ring.is_current(ring.seal(b"the key", "a"))
    for without in (KeyRing([]), KeyRing([""])):
        assert not without.usable
        with pytest.raises(SecretMissing, match=r"certificates\.secret"):
            without.open(sealed, "a")
        with pytest.raises(SecretMissing):
            without.seal(b"", "a")
    assert OLD not in repr(ring._keys)


async def test_a_certificate_comes_back_as_it_was_stored(certificates: CertificateStore) -> None:
    await certificates.put(new(default=True))
    (record,) = await certificates.all()
    assert record.names == {"mail.example.org", "*.example.net"}
    assert (record.chain, record.issuer, record.default, record.state) == (
        b"the chain",
        "test authority",
        True,
        "ready",
    )
    assert (record.not_before, record.not_after) == (NOW, NOW + timedelta(days=90))
    assert certificates.key_of(record) == b"the key"
    assert b"the key" not in record.sealed_key
    assert await certificates.load(["a", "none"]) == [record]
    await certificates.remove("a")
    assert await certificates.all() == []
    with pytest.raises(NotFound, match="no certificate of the name a"):
        await certificates.remove("a")


async def test_every_change_is_another_version_also_after_a_removal(certificates: CertificateStore) -> None:
    seen = []
    for _ in range(3):
        await certificates.put(new())
        seen.append((await certificates.versions())["a"])
    await certificates.remove("a")
    assert await certificates.versions() == {}
    await certificates.put(new())
    seen.append((await certificates.versions())["a"])
    assert len(set(seen)) == 4
    await certificates.remove("a")


async def test_there_is_one_default_and_who_was_it_changes(certificates: CertificateStore) -> None:
    await certificates.put(new("a", default=True))
    before = await certificates.versions()
    await certificates.put(new("b", default=True))
    assert [(record.name, record.default) for record in await certificates.all()] == [("a", False), ("b", True)]
    assert (await certificates.versions())["a"] != before["a"]
    await certificates.remove("a")
    await certificates.remove("b")


async def test_a_row_in_another_ones_place_does_not_open(certificates: CertificateStore) -> None:
    await certificates.put(new("a"))
    await certificates.put(new("b", key=b"another key"))
    await certificates._database.execute(
        "UPDATE certificate SET sealed_key = (SELECT sealed_key FROM certificate WHERE name = 'a') WHERE name = 'b'"
    )
    for record in await certificates.load(["b"]):
        with pytest.raises(WrongSecret):
            certificates.key_of(record)
    await certificates.remove("a")
    await certificates.remove("b")


async def test_keys_are_sealed_again_under_a_new_secret(certificates: CertificateStore) -> None:
    await certificates.put(new())
    with pytest.raises(WrongSecret):
        await with_secrets(certificates, NEW).reseal()
    both = with_secrets(certificates, NEW, OLD)
    assert await both.reseal() == 1
    assert await both.reseal() == 0
    only_new = with_secrets(certificates, NEW)
    (record,) = await only_new.all()
    assert only_new.key_of(record) == b"the key"
    with pytest.raises(WrongSecret):
        certificates.key_of(record)
    await certificates.remove("a")


async def test_a_late_holder_of_a_role_stores_nothing(storage: Storage, certificates: CertificateStore) -> None:
    await storage.leases.acquire(["role/acme.renew"], "me", 60)
    await certificates.put(new(), Fence("role/acme.renew", Epoch(1)))
    with pytest.raises(LeaseLost):
        await certificates.put(new("b"), Fence("role/acme.renew", Epoch(2)))
    assert list(await certificates.versions()) == ["a"]
    await certificates.remove("a")


@pytest.mark.parametrize("name", ["", "a\nb", "x" * 256])
async def test_a_name_is_one_that_can_be_shown(certificates: CertificateStore, name: str) -> None:
    with pytest.raises(InvalidName):
        await certificates.put(new(name))
