"""App passwords on the real PostgreSQL: what they are good for, how long, and what is known of them."""

from collections.abc import Awaitable, Callable

import pytest

from posthorn_model.errors import AccountNotFound, AuthenticationFailed, InvalidName, NotFound, TooMany
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.directory.app_passwords import ALPHABET, digest_of

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
ANN = "ann@example.org"


async def refused(storage: Storage, password: str, service: str = "imap", login: str = ANN) -> None:
    with pytest.raises(AuthenticationFailed):
        await storage.directory.authenticate(login, password, "192.0.2.1", service)


async def test_one_is_good_until_it_is_taken_back(storage: Storage, account: MakeAccount) -> None:
    ann, directory = await account(ANN, "chosen"), storage.directory
    await account("bob@example.org", "other")
    made, password = await directory.app_passwords.add(ANN, "phone")
    for typed in (password, password.upper(), password.replace("-", " "), password.replace("-", "")):
        assert await directory.authenticate("Ann@example.org", typed, "192.0.2.1", "imap") == ann
    assert await directory.authenticate(ANN, "chosen", "192.0.2.1", "imap") == ann
    assert await directory.authenticate(ANN, password) == ann
    await refused(storage, password, login="bob@example.org")
    (listed,) = await directory.app_passwords.all(ANN)
    assert (listed.id, listed.name, listed.services, listed.expires_at) == (made.id, "phone", [], None)
    assert listed.used_at is not None
    await directory.app_passwords.remove(ANN, made.id)
    # Also where it was verified a moment ago.
    await refused(storage, password)
    assert await directory.authenticate(ANN, "chosen", "192.0.2.1", "imap") == ann


async def test_one_is_for_its_services_alone(storage: Storage, account: MakeAccount) -> None:
    ann, directory = await account(ANN), storage.directory
    _, password = await directory.app_passwords.add(ANN, "scanner", ["smtp", "imap"])
    assert await directory.authenticate(ANN, password, "192.0.2.1", "smtp") == ann
    for service in ("jmap", "pop3", ""):
        await refused(storage, password, service)
    claims = directory.claims("192.0.2.1", "imap")
    assert await claims.by_password(ANN, password) == ann
    with pytest.raises(AuthenticationFailed):
        await directory.claims("192.0.2.1", "pop3").by_password(ANN, password)


async def test_one_that_has_expired_is_none(storage: Storage, account: MakeAccount) -> None:
    ann, directory = await account(ANN), storage.directory
    _, password = await directory.app_passwords.add(ANN, "visit", seconds=3600)
    assert await directory.authenticate(ANN, password) == ann
    await storage._database.execute("UPDATE app_password SET expires_at = now()")
    await refused(storage, password)


async def test_what_cannot_be_made(storage: Storage, account: MakeAccount, monkeypatch: pytest.MonkeyPatch) -> None:
    await account(ANN)
    passwords = storage.directory.app_passwords
    for name, services in (("", []), ("x" * 101, []), ("a\nb", []), ("phone", ["telnet"])):
        with pytest.raises(InvalidName):
            await passwords.add(ANN, name, services)
    with pytest.raises(AccountNotFound):
        await passwords.add("nobody@example.org", "phone")
    with pytest.raises(AccountNotFound):
        await passwords.all("nobody@example.org")
    with pytest.raises(NotFound):
        await passwords.remove(ANN, 12345)
    monkeypatch.setattr("posthorn_storage.directory.app_passwords.MAX_APP_PASSWORDS", 1)
    _, first = await passwords.add(ANN, "phone")
    with pytest.raises(TooMany):
        await passwords.add(ANN, "laptop")
    kept = await storage._database.fetchval("SELECT digest FROM app_password")
    assert kept == digest_of(first)


def test_what_can_be_one() -> None:
    assert len(ALPHABET) == 32
    assert digest_of("abcde-fghij-kmnpq-rstuv") == digest_of("ABCDE fghijkmnpqrstuv") != b""
    for text in ("", "correct horse", "abcde-fghij-kmnpq-rstu", "abcde-fghij-kmnpq-rstul", "-" * 200):
        assert digest_of(text) == b""


async def test_a_reset_of_the_account_takes_none_back(storage: Storage, account: MakeAccount) -> None:
    ann, directory = await account(ANN), storage.directory
    _, password = await directory.app_passwords.add(ANN, "phone")
    await directory.reset_account(ANN)
    assert await directory.authenticate(ANN, password) == ann
