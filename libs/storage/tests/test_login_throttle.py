"""Guessing passwords: how many guesses are answered, who is locked out, and who is not."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_ctl.embedded import ports
from posthorn_model.errors import AuthenticationFailed, TooManyFailures
from posthorn_storage import FsSettings, LoginLimits, Rate, RedisSettings, Storage, StorageSettings

pytestmark = pytest.mark.postgres
ANN, SECRET = "ann@example.org", "correct horse"
HOME, OFFICE, ELSEWHERE = "192.0.2.1", "198.51.100.2", "203.0.113.3"
HOUR = 3600.0
Open = Callable[..., Awaitable[Storage]]


@pytest_asyncio.fixture
async def process(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Open]:
    """`await process(limits, lookup=...)`: a Storage as one more process of the cluster has it; two accounts exist."""
    async with AsyncExitStack() as stack:

        async def start(limits: LoginLimits, lookup: RedisSettings | None = None) -> Storage:
            settings = StorageSettings(postgres_dsn, FsSettings(tmp_path / "blobs"), lookup=lookup, logins=limits)
            opened = await Storage.open(settings)
            stack.push_async_callback(opened.close)
            return opened

        first = await start(LoginLimits())
        await first.directory.add_domain("example.org")
        await first.directory.add_accounts([(ANN, SECRET), ("bob@example.org", SECRET)])
        yield start


async def outcome(storage: Storage, password: str, remote: str, login: str = ANN) -> str:
    """What a client hears: "in", "wrong" or "wait"."""
    try:
        account = await storage.directory.authenticate(login, password, remote)
    except AuthenticationFailed:
        return "wrong"
    except TooManyFailures as error:
        return "wait" if 0 < error.retry_after <= HOUR else f"wait {error.retry_after} s"
    return "in" if account.address == ANN or login != ANN else account.address


async def test_an_address_has_so_many_guesses_on_all_processes_together(process: Open) -> None:
    limits = LoginLimits(Rate(4, HOUR), None)
    one, two = await process(limits), await process(limits)
    logins = (ANN, "bob@example.org", "nobody@example.org", "no address at all")
    answers = [await outcome((one, two)[n % 2], "guess", ELSEWHERE, login) for n, login in enumerate(logins)]
    assert answers == ["wrong"] * 4
    for storage in (one, two, one):
        assert await outcome(storage, "guess", ELSEWHERE) == "wait"
        assert await outcome(storage, SECRET, ELSEWHERE) == "wait"
    assert await outcome(one, SECRET, HOME) == "in"


async def test_an_account_has_so_many_guesses_and_its_owner_is_not_locked_out(process: Open) -> None:
    limits = LoginLimits(Rate(100, HOUR), Rate(3, HOUR))
    one, two = await process(limits), await process(limits)
    assert await outcome(one, SECRET, HOME) == "in"
    assert [await outcome(two, "guess", f"203.0.113.{n}") for n in range(5)] == ["wrong"] * 3 + ["wait"] * 2
    # Guesses of other spellings are guesses of the same account.
    assert await outcome(two, "guess", ELSEWHERE, "Ann@EXAMPLE.org") == "wait"
    assert await outcome(two, SECRET, OFFICE) == "wait"
    assert await outcome(two, SECRET, HOME) == "in"
    assert await outcome(two, "mistyped", HOME) == "wrong"
    assert await outcome(two, SECRET, OFFICE, "bob@example.org") == "in"


async def test_what_is_mistyped_where_the_owner_is_known_does_not_lock_other_places_out(process: Open) -> None:
    one = await process(LoginLimits(Rate(100, HOUR), Rate(3, HOUR)))
    assert await outcome(one, SECRET, HOME) == "in"
    assert [await outcome(one, "mistyped", HOME) for _ in range(5)] == ["wrong"] * 3 + ["wait"] * 2
    assert [await outcome(one, "guess", ELSEWHERE) for _ in range(2)] == ["wrong"] * 2
    one.directory.forget()
    assert await outcome(one, SECRET, OFFICE) == "in"


async def test_who_shares_an_address_with_guessers_goes_on_where_known(process: Open) -> None:
    limits = LoginLimits(Rate(3, HOUR), None)
    one, two = await process(limits), await process(limits)
    assert await outcome(one, SECRET, HOME) == "in"
    answers = [await outcome(two, "guess", HOME, f"nobody{n}@example.org") for n in range(5)]
    assert answers == ["wrong"] * 3 + ["wait"] * 2
    assert await outcome(two, SECRET, HOME, "bob@example.org") == "wait"
    assert await outcome(two, SECRET, HOME) == "in"
    # And is no way around the limit: a known account has one there too.
    assert [await outcome(two, "guess", HOME) for _ in range(5)] == ["wrong"] * 3 + ["wait"] * 2


async def test_a_known_place_has_its_own_limit(process: Open) -> None:
    one = await process(LoginLimits(Rate(5, HOUR), Rate(3, HOUR)))
    two = await process(LoginLimits(Rate(5, HOUR), Rate(3, HOUR)))
    assert await outcome(one, SECRET, HOME) == "in"
    answers = [await outcome(two, "guess", HOME) for _ in range(8)]
    assert answers == ["wrong"] * 3 + ["wait"] * 5
    assert await outcome(two, SECRET, HOME) == "wait"
    assert await outcome(two, SECRET, OFFICE) == "in"
    # The process that verified it a moment ago need not judge it again.
    assert await outcome(one, SECRET, HOME) == "in"


async def test_many_guesses_at_once_are_answered_no_more_often(process: Open) -> None:
    limits = LoginLimits(Rate(10, HOUR), Rate(6, HOUR))
    processes = [await process(limits), await process(limits)]
    guesses = [outcome(processes[n % 2], "guess", ELSEWHERE) for n in range(60)]
    assert Counter(await asyncio.gather(*guesses)) == {"wrong": 6, "wait": 54}


async def test_a_neighbourhood_of_ipv6_counts_as_one_address(process: Open) -> None:
    one = await process(LoginLimits(Rate(2, HOUR), None, exempt=("198.51.100.0/24", "2001:db8:ffff::1/128")))
    assert await outcome(one, "guess", "2001:db8:0:7::1") == "wrong"
    assert await outcome(one, "guess", "2001:db8:0:7:ffff::2%eth0") == "wrong"
    assert await outcome(one, SECRET, "2001:db8:0:7::3") == "wait"
    assert await outcome(one, SECRET, "2001:db8:0:8::1") == "in"
    for remote in ("::ffff:192.0.2.1", "192.0.2.1"):
        assert await outcome(one, "guess", remote) == "wrong"
    assert await outcome(one, "guess", "192.0.2.1") == "wait"
    for remote in ("198.51.100.2", "2001:db8:ffff::1", ""):
        assert [await outcome(one, "guess", remote) for _ in range(4)] == ["wrong"] * 4


async def test_nobody_is_held_up_while_the_lookup_store_is_away(process: Open) -> None:
    (port,) = ports.free_ports(1)
    one = await process(LoginLimits(Rate(1, HOUR), Rate(1, HOUR)), RedisSettings((f"redis://127.0.0.1:{port}",)))
    assert [await outcome(one, "guess", HOME) for _ in range(4)] == ["wrong"] * 4
    assert await outcome(one, SECRET, HOME) == "in"
