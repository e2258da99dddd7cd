"""A ban that one node makes is kept by another: by the bus at once, and by what the heartbeat counts."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from ipaddress import ip_network
from pathlib import Path

import pytest
import pytest_asyncio

from posthorn_assembly import Parts, assemble
from posthorn_model.errors import AuthenticationFailed, TooManyFailures
from posthorn_node.node import Node, new_node
from posthorn_node.settings import NodeSettings, parse, validate
from posthorn_storage import Storage, StorageSettings
from posthorn_testkit.contracts.fleet import until

pytestmark = pytest.mark.postgres
GUESSER = "192.0.2.7"
Start = Callable[[int, str], Awaitable[tuple[Node, Parts]]]


@pytest_asyncio.fixture
async def start(postgres_dsn: str, tmp_path: Path) -> AsyncIterator[Start]:
    """`await start(number, heartbeat)`: one process of that node, over the peer-to-peer bus."""
    running: list[tuple[Node, Parts]] = []

    async def begin(number: int, heartbeat: str) -> tuple[Node, Parts]:
        text = f"""
            [auth.throttle]
            delay = "0s"
            [auth.ban]
            failures = "3/1h"
            [store.postgres]
            type = "postgresql"
            dsn = "{postgres_dsn}"
            [store.fs]
            type = "fs"
            path = "{tmp_path}"
            [cluster]
            secret = "x"
            name = "{tmp_path.name}"
            node-id = {number}
            heartbeat = "{heartbeat}"
            failure-after = "600s"
            lease-ttl = "600s"
        """
        settings = validate(parse(text.encode(), Path("node.toml"), {}), {"": NodeSettings})[""]
        node = new_node("imap", settings, None)
        parts = await assemble(node)
        running.append((node, parts))
        return node, parts

    yield begin
    for node, parts in running:
        await node.tasks.stop()
        await parts.close()


async def test_guesses_at_one_node_are_a_ban_at_the_other_without_any_heartbeat(start: Start) -> None:
    (one, parts), (two, _) = await start(1, "200s"), await start(2, "200s")

    async def guess() -> None:
        with pytest.raises((AuthenticationFailed, TooManyFailures)):
            await parts.storage.directory.authenticate("nobody@example.org", "guess", GUESSER)

    # Until the buses have found each other the event may be lost: the ban is made again.
    while not two.bans.hold(GUESSER):
        for network in await parts.storage.bans.all():
            await parts.storage.bans.remove(network.network)
        for _ in range(4):
            await guess()
        await until(lambda: one.bans.hold(GUESSER), "the own ban")
        await asyncio.sleep(0.5)
    assert not two.bans.hold("192.0.2.8")
    await until(lambda: b"posthorn_bans 1.0" in two.metrics.exposition(), "one ban is known")
    assert b"posthorn_banned_connections_total" in two.metrics.exposition()
    await parts.storage.bans.remove(ip_network(f"{GUESSER}/32"))
    await until(lambda: not two.bans.hold(GUESSER), "the ban is lifted there too")


async def test_a_ban_of_a_command_that_is_on_no_bus_is_seen_with_a_heartbeat(start: Start, postgres_dsn: str) -> None:
    (one, _), (two, _) = await start(1, "200ms"), await start(2, "200s")
    command = await Storage.open(StorageSettings(dsn=postgres_dsn, blobs=None, pool_size=2))
    try:
        network = ip_network("2001:db8:1:2::/64")
        await command.bans.put(network, 600, "by hand", "operator")
        await until(lambda: one.bans.hold("2001:db8:1:2::9"), "one heartbeat")
        await until(lambda: two.bans.hold("2001:db8:1:2::9"), "the other is told, or looks")
        await command.bans.remove(network)
        await until(lambda: not one.bans.hold("2001:db8:1:2::9"), "one heartbeat")
    finally:
        await command.close()
