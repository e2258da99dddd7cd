"""argon2id: our own hashes, those of other programs, and everything that is none."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from posthorn_model.errors import AuthenticationFailed
from posthorn_storage.directory.passwords import MAX_PASSWORD_BYTES, Passwords, Verified

# By the reference implementation: 4 MiB, 3 passes, 4 lanes; the password has a NUL in it.
ELSEWHERE = "$argon2id$v=19$m=4096,t=3,p=4$eB2wopTwfZEZdIvKaVHdaQ$uRR0WWyiicGeL0mmaP/HbS7Q4R9KICPTmL/sH8K5T+8"


@pytest.fixture
async def passwords() -> AsyncIterator[Passwords]:
    made = Passwords()
    yield made
    made.close()


async def test_a_hash_is_salted_and_in_phc_form(passwords: Passwords) -> None:
    one, two = (await passwords.protect("secret")).hash, (await passwords.protect("secret")).hash
    assert one.startswith("$argon2id$v=19$m=7168,t=5,p=1$")
    assert one != two
    assert await passwords.verify("secret", one)
    assert await passwords.verify("secret", two)
    assert not await passwords.verify("Secret", one)


async def test_the_hash_of_another_program_is_understood(passwords: Passwords) -> None:
    assert await passwords.verify("grün und\x00still", ELSEWHERE)
    assert not await passwords.verify("grün und", ELSEWHERE)


@pytest.mark.parametrize(
    "secret",
    ["", "plain", "{SSHA}x", "$2b$12$abc", "$argon2id$", ELSEWHERE[:-4], ELSEWHERE + "A" * 200, "$argon2id$\udc80"],
)
async def test_what_is_no_hash_is_nobodys(passwords: Passwords, secret: str) -> None:
    assert not await passwords.verify("plain", secret)


async def test_nobody_has_no_password(passwords: Passwords) -> None:
    assert not await passwords.verify("secret", None)


@pytest.mark.parametrize("password", ["", "x" * (MAX_PASSWORD_BYTES + 1), "ü" * MAX_PASSWORD_BYTES])
async def test_empty_and_enormous_ones_are_refused(passwords: Passwords, password: str) -> None:
    with pytest.raises(AuthenticationFailed):
        await passwords.protect(password)
    with pytest.raises(AuthenticationFailed):
        await passwords.protect_all(["good", password])
    assert not await passwords.verify(password, ELSEWHERE)


async def test_many_are_hashed_in_their_order(passwords: Passwords) -> None:
    given = ["a", "b", "a", "c"]
    hashed = await passwords.protect_all(given)
    assert hashed[0] == hashed[2]
    assert len(set(hashed)) == 3
    hashes = [each.hash for each in hashed]
    assert all(await asyncio.gather(*map(passwords.verify, given, hashes)))


def test_what_was_verified_is_remembered_for_a_while_and_bounded() -> None:
    now = 0.0
    known = Verified(lambda: now, seconds=60, limit=2)
    known.remember("ann", "one", 1, "s1")
    assert known.find("ann", "one") == 1
    assert known.find("ann", "two") is None
    assert known.holds("ann", "one", "s1")
    assert not known.holds("ann", "one", "another secret")
    assert known.find("ann", "one") is None
    known.remember("ann", "one", 1, "s1")
    assert not known.holds("ann", "one", None)
    known.remember("ann", "one", 1, "s1")
    assert known.find("anno", "ne") is None
    known.remember("bob", "two", 2, "s2")
    known.remember("cat", "three", 3, "s3")
    assert known.find("ann", "one") is None
    now = 60.0
    assert known.find("bob", "two") is None
    known.remember("dan", "four", 4, "s4")
    known.forget()
    assert known.find("dan", "four") is None
