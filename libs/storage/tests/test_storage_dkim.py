"""DKIM keys in the database: their states one after the other, selectors that never come back, sealed private keys."""

import base64

import pytest
from cryptography.hazmat.primitives.asymmetric import dsa, ed25519, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_der_public_key,
    load_pem_private_key,
)

from posthorn_model.errors import (
    AlreadyExists,
    InvalidContent,
    InvalidName,
    LeaseLost,
    NotFound,
    SecretMissing,
    WrongSecret,
)
from posthorn_model.ids import Epoch
from posthorn_storage import Fence, Storage
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.dkim import Algorithm, DkimStore, NewDkimKey, imported, made

OLD, NEW = "an old secret of the cluster", "a new secret of the cluster"
DOMAIN = "example.org"
ED25519 = made("ed25519")


@pytest.fixture
def dkim(storage: Storage) -> DkimStore:
    return DkimStore(storage._database, KeyRing([OLD]))


def new(domain: str = DOMAIN, selector: str = "", *, active: bool = False) -> NewDkimKey:
    return NewDkimKey(domain, made("ed25519"), selector, active)


async def states(dkim: DkimStore) -> dict[str, str]:
    return {key.selector: key.state for key in await dkim.of([DOMAIN])}


async def test_a_key_waits_signs_rests_and_goes(dkim: DkimStore) -> None:
    first = await dkim.add(new(selector="one"))
    assert (first.state, first.published_at, first.active_at) == ("waiting", None, None)
    assert await dkim.signing(DOMAIN) == []
    await dkim.activate(DOMAIN, "one")
    await dkim.add(new(selector="two"))
    assert [key.selector for key in await dkim.signing(DOMAIN)] == ["one"]
    await dkim.activate(DOMAIN, "two")
    assert await states(dkim) == {"one": "retired", "two": "active"}
    assert [key.selector for key in await dkim.signing(DOMAIN)] == ["two"]
    await dkim.remove(DOMAIN, "one")
    assert await states(dkim) == {"one": "removed", "two": "active"}
    assert await dkim._database.fetchval("SELECT sealed_key FROM dkim_key WHERE selector = 'one'") is None
    assert await dkim.domains() == [DOMAIN]
    with pytest.raises(NotFound):
        await dkim.remove(DOMAIN, "one")
    with pytest.raises(NotFound):
        await dkim.activate(DOMAIN, "two")


async def test_what_signs_is_what_was_stored_and_is_sealed(dkim: DkimStore) -> None:
    new_key = NewDkimKey(DOMAIN, ED25519, active=True)
    assert "PRIVATE" not in repr(new_key)
    stored = await dkim.add(new_key)
    (key,) = await dkim.signing(DOMAIN)
    assert (key.selector, key.algorithm, key.pem) == (stored.selector, "ed25519", ED25519.pem)
    assert "PRIVATE" not in repr(key)
    sealed = await dkim._database.fetchval("SELECT sealed_key FROM dkim_key")
    assert ED25519.pem not in sealed
    with pytest.raises(WrongSecret):
        await DkimStore(dkim._database, KeyRing([NEW])).signing(DOMAIN)
    with pytest.raises(SecretMissing):
        await DkimStore(dkim._database, KeyRing([])).add(new("example.net"))


async def test_a_key_in_another_ones_place_is_not_used(dkim: DkimStore) -> None:
    await dkim.add(new(active=True))
    await dkim.add(new("example.net", active=True))
    await dkim._database.execute(
        "UPDATE dkim_key SET sealed_key = (SELECT sealed_key FROM dkim_key WHERE domain = 'example.net') "
        "WHERE domain = 'example.org'"
    )
    with pytest.raises(WrongSecret, match="another one's place"):
        await dkim.signing(DOMAIN)


async def test_a_selector_never_comes_back(dkim: DkimStore) -> None:
    first = await dkim.add(new())
    assert first.selector.startswith("ed25519-20")
    await dkim.remove(DOMAIN, first.selector)
    second = await dkim.add(new())
    assert second.selector == f"{first.selector}-2"
    await dkim.activate(DOMAIN, second.selector)
    with pytest.raises(AlreadyExists, match="used before"):
        await dkim.add(new(selector=first.selector))
    assert (await dkim.add(new("example.net"))).selector == first.selector


async def test_one_key_of_an_algorithm_waits_and_one_signs(dkim: DkimStore) -> None:
    await dkim.add(new(selector="one"))
    with pytest.raises(AlreadyExists, match="one of that algorithm waits"):
        await dkim.add(new(selector="two"))
    rsa_key = await dkim.add(NewDkimKey(DOMAIN, made("rsa"), "three", active=True))
    await dkim.add(new(selector="four", active=True))
    await dkim.add(new(selector="five", active=True))
    assert await states(dkim) == {"one": "waiting", "three": "active", "four": "retired", "five": "active"}
    assert [key.algorithm for key in await dkim.signing(DOMAIN)] == ["rsa", "ed25519"]
    assert isinstance(load_der_public_key(base64.b64decode(rsa_key.public)), rsa.RSAPublicKey)


async def test_a_late_holder_of_the_role_changes_nothing(dkim: DkimStore, storage: Storage) -> None:
    await storage.leases.acquire(["role/dkim.rotate"], "me", 60)
    now, late = Fence("role/dkim.rotate", Epoch(1)), Fence("role/dkim.rotate", Epoch(0))
    key = await dkim.add(new(), now)
    for write in (
        dkim.add(new("example.net"), late),
        dkim.activate(DOMAIN, key.selector, late),
        dkim.remove(DOMAIN, key.selector, late),
        dkim.seen(late, key, 60),
        dkim.gone(late, key),
        dkim.put_off(late, key, "a reason", 60),
    ):
        with pytest.raises(LeaseLost):
            await write
    assert await _without_time(dkim) == [(key.selector, "waiting", None, None)]
    await dkim.seen(now, key, 60)
    await dkim.put_off(now, key, "a reason\0", 60)
    (found,) = await dkim.all()
    assert (found.problem, found.failures) == ("a reason", 1)
    assert found.published_at is not None
    assert found.due > found.now


async def _without_time(dkim: DkimStore) -> list[tuple[str, str, object, str | None]]:
    return [(key.selector, key.state, key.published_at, key.problem) for key in await dkim.all()]


async def test_keys_are_sealed_again_under_a_new_secret(dkim: DkimStore) -> None:
    await dkim.add(new(selector="one"))
    await dkim.add(new("example.net"))
    await dkim.add(new(selector="gone", active=True))
    await dkim.remove(DOMAIN, "gone")
    with pytest.raises(WrongSecret):
        await DkimStore(dkim._database, KeyRing([NEW])).reseal()
    both = DkimStore(dkim._database, KeyRing([NEW, OLD]))
    assert await both.reseal() == 2
    assert await both.reseal() == 0


async def test_a_selector_is_a_name_of_dns(dkim: DkimStore) -> None:
    for selector in ("a b", "-a", "a-", "a..b", "ä", "a" * 64, "a;b", 'a"b', "a.b.c.d.e"):
        with pytest.raises(InvalidName):
            await dkim.add(NewDkimKey(DOMAIN, ED25519, selector))
    assert (await dkim.add(NewDkimKey(DOMAIN, ED25519, "A-1.b"))).selector == "a-1.b"


@pytest.mark.parametrize(("algorithm", "length"), [("rsa", 392), ("ed25519", 44)])
def test_the_record_publishes_the_key(algorithm: Algorithm, length: int) -> None:
    key = made(algorithm)
    assert len(key.public) == length
    private = load_pem_private_key(key.pem, password=None)
    assert isinstance(private, ed25519.Ed25519PrivateKey if algorithm == "ed25519" else rsa.RSAPrivateKey)
    assert imported(key.pem) == key


def test_only_keys_that_verifiers_take_are_imported() -> None:
    weak = rsa.generate_private_key(65537, 1024)
    assert imported(weak.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()))
    other = dsa.generate_private_key(1024).private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for pem, reason in ((other, "RSA and Ed25519"), (b"", "not a private key"), (b"-" * 20_000, "too long")):
        with pytest.raises(InvalidContent, match=reason):
            imported(pem)


async def test_the_record_is_what_rfc_8463_says(dkim: DkimStore) -> None:
    key = await dkim.add(NewDkimKey("Example.ORG.", ED25519, "Brisbane"))
    assert key.record_name == "brisbane._domainkey.example.org"
    assert key.record_text == f"v=DKIM1; k=ed25519; p={ED25519.public}"
    assert len(base64.b64decode(ED25519.public)) == 32
