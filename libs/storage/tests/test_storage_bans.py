"""Bans on the real PostgreSQL: of operators, of who failed too often at logins, and how failures are slowed."""

from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import replace
from ipaddress import ip_network
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_model.errors import AuthenticationFailed, NotFound, TooManyFailures
from posthorn_storage import FsSettings, LoginLimits, Rate, Storage, StorageSettings

pytestmark = pytest.mark.postgres
NET = ip_network("192.0.2.0/24")
Open = Callable[[LoginLimits], Awaitable[Storage]]


@pytest_asyncio.fixture
async def process(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Open]:
    """`await process(limits)`: a Storage as one more process of the cluster has it."""
    async with AsyncExitStack() as stack:

        async def start(limits: LoginLimits) -> Storage:
            opened = await Storage.open(StorageSettings(postgres_dsn, FsSettings(tmp_path / "blobs"), logins=limits))
            stack.push_async_callback(opened.close)
            return opened

        yield start


async def guess(storage: Storage, remote: str) -> None:
    with pytest.raises((AuthenticationFailed, TooManyFailures)):
        await storage.directory.authenticate("nobody@example.org", "guess", remote)


async def networks(storage: Storage) -> list[str]:
    return [str(ban.network) for ban in await storage.bans.all()]


async def test_a_ban_lives_until_it_is_lifted_or_ends(storage: Storage) -> None:
    told: list[int] = []
    storage.bans.told = told.append
    assert await storage.bans.put(NET, None, "by hand", "operator")
    (ban,) = await storage.bans.all()
    assert (ban.network, ban.reason, ban.source, ban.until, ban.seconds_left) == (
        NET,
        "by hand",
        "operator",
        None,
        None,
    )
    assert not await storage.bans.put(NET, 60, "failures", "automatic"), "an operator has said otherwise"
    assert await storage.bans.put(NET, 3600, "for less", "operator")
    (ban,) = await storage.bans.all()
    assert ban.seconds_left is not None
    assert 3500 < ban.seconds_left <= 3600
    await storage.bans.remove(NET)
    assert await networks(storage) == []
    with pytest.raises(NotFound):
        await storage.bans.remove(NET)
    assert told == [told[0], told[0] + 1, told[0] + 2]


async def test_a_ban_that_has_ended_is_none(storage: Storage) -> None:
    await storage.bans.put(NET, 3600, "failures", "automatic")
    await storage._database.execute("UPDATE ban SET until = now()")
    assert await networks(storage) == []
    other = ip_network("2001:db8::/64")
    await storage.bans.put(other, 60, "failures", "automatic")
    assert await storage._database.fetchval("SELECT count(*) FROM ban") == 1
    await storage.bans.remove(other)


async def test_who_fails_too_often_is_banned_whatever_node_counts(process: Open) -> None:
    limits = LoginLimits(None, None, ("198.51.100.0/24",), ban=Rate(3, 3600), never_banned=("203.0.113.9/32",))
    one, two = await process(limits), await process(replace(limits, ban_seconds=60))
    told: list[int] = []
    two.bans.told = told.append
    for number in range(4):
        assert await networks(one) == []
        await guess((one, two)[number % 2], "192.0.2.7")
    assert told == [told[0]]
    (ban,) = await one.bans.all()
    assert (str(ban.network), ban.source) == ("192.0.2.7/32", "automatic")
    assert "nobody@example.org" in ban.reason
    for remote in ("198.51.100.1", "203.0.113.9", "", *(f"2001:db8:0:7::{n}" for n in range(4))):
        for _ in range(1 if remote.startswith("2001") else 4):
            await guess(one, remote)
    assert await networks(one) == ["192.0.2.7/32", "2001:db8:0:7::/64"]
    for network in await networks(one):
        await one.bans.remove(ip_network(network))


async def test_a_known_place_is_not_banned_for_what_its_owner_mistypes(process: Open) -> None:
    one = await process(LoginLimits(None, Rate(2, 3600), ban=Rate(1, 3600)))
    await one.directory.add_domain("example.org", idempotent=True)
    await one.directory.add_account("ann@example.org", "right")
    await one.directory.authenticate("ann@example.org", "right", "192.0.2.7")
    for _ in range(4):
        with pytest.raises((AuthenticationFailed, TooManyFailures)):
            await one.directory.authenticate("ann@example.org", "wrong", "192.0.2.7")
    assert await networks(one) == []


async def test_failures_are_answered_later_each_time_on_all_nodes_together(
    process: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    async def pause(seconds: float) -> None:
        pauses.append(seconds)

    monkeypatch.setattr("posthorn_storage.directory.login_throttle.asyncio.sleep", pause)
    limits = LoginLimits(Rate(100, 3600), None, delay=0.5)
    one, two = await process(limits), await process(limits)
    for number in range(7):
        await guess((one, two)[number % 2], "192.0.2.7")
    await guess(one, "192.0.2.8")
    await guess(one, "")
    assert pauses == [0.5, 1, 2, 4, 8, 8, 8, 0.5, 0.5]
