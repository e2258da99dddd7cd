"""What is kept of passwords, and claims judged by it: SCRAM beside argon2id, old rows, and who does not exist."""

import base64
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from posthorn_model.errors import AuthenticationFailed, TooManyFailures
from posthorn_sasl import Challenge, Exchange, Login, Terms
from posthorn_storage import AccountRecord, Storage
from posthorn_testkit.scram_client import ScramClient

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]


async def scram(storage: Storage, user: str, password: str) -> AccountRecord:
    """A login, or AuthenticationFailed."""
    client = ScramClient(user, password)
    login: Login[AccountRecord] = Login(Exchange("SCRAM-SHA-256", Terms()), storage.directory.claims("192.0.2.1"))
    salted = await login.step(base64.b64encode(client.first()))
    assert isinstance(salted, Challenge)
    signed = await login.step(base64.b64encode(client.final(salted.data)))
    assert signed == Challenge(client.expected)
    account = await login.step(b"")
    assert isinstance(account, AccountRecord)
    return account


async def test_every_new_password_is_good_for_scram(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org", "first")
    assert await scram(storage, "Ann@Example.org", "first") == ann
    await storage.directory.set_password("ann@example.org", "second")
    assert await scram(storage, "ann@example.org", "second") == ann
    for user, password in (("ann@example.org", "first"), ("bob@example.org", "second"), ("rubbish", "x")):
        with pytest.raises(AuthenticationFailed):
            await scram(storage, user, password)


async def test_a_password_from_before_is_good_for_scram_after_its_first_plain_login(
    storage: Storage, account: MakeAccount
) -> None:
    ann = await account("ann@example.org", "right")
    await storage._database.execute("UPDATE credential SET scram = NULL, scram_at = NULL")
    with pytest.raises(AuthenticationFailed):
        await scram(storage, "ann@example.org", "right")
    assert await storage.directory.authenticate("ann@example.org", "right") == ann
    assert await scram(storage, "ann@example.org", "right") == ann


async def test_a_verifier_ends_when_a_process_that_knows_of_none_sets_the_password(
    storage: Storage, account: MakeAccount
) -> None:
    """As code from before there were verifiers does it (design law 11)."""
    await account("ann@example.org", "right")
    await storage._database.execute("UPDATE credential SET secret = 'another', updated_at = now()")
    with pytest.raises(AuthenticationFailed):
        await scram(storage, "ann@example.org", "right")


async def test_a_password_that_changes_during_the_exchange_is_the_old_one(
    storage: Storage, account: MakeAccount
) -> None:
    await account("ann@example.org", "right")
    claims = storage.directory.claims("192.0.2.1")
    await claims.verifier("ann@example.org")
    await storage.directory.set_password("ann@example.org", "right")
    with pytest.raises(AuthenticationFailed):
        await claims.by_proof("ann@example.org", fits=True)


async def test_who_does_not_exist_has_a_salt_that_stays(storage: Storage, account: MakeAccount) -> None:
    await account("ann@example.org")
    directory = storage.directory
    for login in ("nobody@example.org", "ann@example.org", "rubbish"):
        asked = [await directory.claims("").verifier(login) for _ in range(2)]
        assert asked[0] == asked[1]
        with pytest.raises(AuthenticationFailed):
            await directory.claims("").by_proof(login, fits=True)


async def test_what_failed_by_scram_counts_like_any_failure(
    storage: Storage, account: MakeAccount, lock_out: Any
) -> None:
    await account("ann@example.org", "right")
    await lock_out("ann@example.org")
    with pytest.raises(TooManyFailures):
        await scram(storage, "ann@example.org", "right")


async def test_a_password_has_one_form_however_it_is_typed(storage: Storage, account: MakeAccount) -> None:
    ann = await account("ann@example.org", "caf\u00e9 \u2168")
    for typed in ("caf\u00e9 \u2168", "cafe\u0301\u00a0IX"):
        assert await storage.directory.authenticate("ann@example.org", typed) == ann
    assert await scram(storage, "ann@example.org", "caf\u00e9 IX") == ann
