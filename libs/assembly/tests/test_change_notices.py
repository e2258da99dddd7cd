"""A change of the directory, made by a process on no bus, reaches all others: by one heartbeat, and by an event."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from posthorn_assembly.notices import CERTIFICATES, INVALIDATE_DIRECTORY, ChangeWatch, NodeVoice
from posthorn_bus import PeerSettings
from posthorn_bus.settings import BusSettings
from posthorn_model.cluster import Process, Standing
from posthorn_model.errors import AuthenticationFailed, NotFound
from posthorn_model.events import Control, NodeNotice, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import Bus, PeerDirectory
from posthorn_node.certificates import parsed
from posthorn_storage import Storage, StorageSettings
from posthorn_storage.certificates import CertificateStore, NewCertificate
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.database import Database
from posthorn_testkit.certificates import certificate_of
from posthorn_testkit.contracts.fleet import Ear, Fleet, until

pytestmark = pytest.mark.postgres


class Mesh(Fleet):
    """Buses that talk to each other directly."""

    def settings(self) -> PeerSettings:
        return PeerSettings(secret="a secret", heartbeat=0.3, refresh=0.5, silence=30.0)

    def unreachable(self) -> tuple[BusSettings, PeerDirectory | None]:
        raise NotImplementedError

    def sender(self) -> str:
        raise NotImplementedError

    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        raise NotImplementedError


@pytest.fixture
async def mesh(postgres_dsn: str) -> AsyncIterator[Mesh]:
    database = await Database.open(postgres_dsn)
    mesh = Mesh(database, postgres_dsn)
    yield mesh
    await mesh.close()
    await database.close()


@pytest.fixture
async def three(postgres_dsn: str) -> AsyncIterator[list[Storage]]:
    """Two processes of services, and one that only changes the directory."""
    settings = StorageSettings(dsn=postgres_dsn, blobs=None, pool_size=2)
    opened = [await Storage.open(replace(settings)) for _ in range(3)]
    yield opened
    for storage in opened:
        await storage.close()


async def beat(storage: Storage) -> Standing:
    """A heartbeat of node 1."""
    now = datetime.now(UTC)
    process = Process(NodeId(1), "imap", "beating", "host", "", "ready", {}, 0.0, now, now, True)
    await storage.nodes.claim_node(NodeId(1), "node 1", 60)
    return await storage.nodes.beat(process, "node 1", 60)


def watching(storage: Storage, bus: Bus, known: int) -> ChangeWatch:
    directory = storage.directory
    return ChangeWatch(INVALIDATE_DIRECTORY, bus, known, directory.look_again, directory.forget)


async def follow(bus: Bus, watch: ChangeWatch) -> None:
    async for event in bus.subscribe(Topic.CONTROL):
        if isinstance(event, Control) and event.name == INVALIDATE_DIRECTORY:
            watch.heard(event)


async def test_one_heartbeat_is_enough_for_all(mesh: Mesh, three: list[Storage]) -> None:
    stations = [await mesh.station(node) for node in (1, 2)]
    ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
    await mesh.settle(*ears)
    first, second, command = three
    known = (await beat(first)).directory
    watches = [watching(s, at.bus, known) for s, at in zip(three[:2], stations, strict=True)]
    following = [asyncio.create_task(follow(at.bus, watch)) for at, watch in zip(stations, watches, strict=True)]
    await asyncio.sleep(0)
    for storage in (first, second):
        assert not await storage.directory.is_local_domain("example.org")
    await command.directory.add_domain("example.org")
    watches[0].beaten((await beat(first)).directory)
    assert await first.directory.is_local_domain("example.org")
    told = Control(INVALIDATE_DIRECTORY, {"changes": known + 1})
    await until(lambda: ears[1].heard(told) and watches[1].known == known + 1, "the other is told")
    assert await second.directory.is_local_domain("example.org")
    # Nobody says again what is known.
    watches[1].beaten((await beat(first)).directory)
    stations[1].bus.publish(Control("after"))
    await until(lambda: ears[0].heard(Control("after")), "what follows")
    assert [event for event in ears[0].events if event == told] == [told]
    for task in following:
        task.cancel()
    await asyncio.gather(*following, return_exceptions=True)


async def test_each_change_of_a_certificate_is_seen_with_a_heartbeat(three: list[Storage], mesh: Mesh) -> None:
    first, _, command = three
    station = await mesh.station(1)
    looks: list[int] = []
    start = (await beat(first)).certificates
    watch = ChangeWatch(CERTIFICATES, station.bus, start, lambda: looks.append(watch.known), lambda: looks.append(-1))
    store = CertificateStore(command._database, KeyRing(["the secret of all nodes"]))
    found = parsed("a", *certificate_of("a.test"))
    now = datetime.now(UTC)
    await store.put(NewCertificate("a", found.names, found.chain, found.key, "me", now, now))
    watch.beaten((await beat(first)).certificates)
    watch.beaten((await beat(first)).certificates)
    assert looks == [start + 1]
    await store.remove("a")
    watch.beaten((await beat(first)).certificates)
    assert looks == [start + 1, start + 2]
    with pytest.raises(NotFound):
        await store.remove("a")
    assert (await beat(first)).certificates == start + 2
    watch.heard(Control(CERTIFICATES))
    assert looks[-1] == -1


async def test_a_changed_password_holds_at_once_everywhere(three: list[Storage]) -> None:
    first, second, command = three
    await command.directory.add_domain("example.org")
    await command.directory.add_account("ann@example.org", "old")
    for storage in (first, second):
        await storage.directory.authenticate("ann@example.org", "old")
    await command.directory.set_password("ann@example.org", "new")
    for storage in (first, second):
        with pytest.raises(AuthenticationFailed):
            await storage.directory.authenticate("ann@example.org", "old")
        await storage.directory.authenticate("ann@example.org", "new")
    await command.directory.delete_account("ann@example.org")


async def test_what_an_event_says_is_judged(three: list[Storage], mesh: Mesh) -> None:
    station = await mesh.station(1)
    watch = watching(three[0], station.bus, 5)
    directory = three[0].directory
    assert not await directory.is_local_domain("example.org")
    await three[1].directory.add_domain("example.org")
    for old in ({"changes": 5}, {"changes": 4}):
        watch.heard(Control(INVALIDATE_DIRECTORY, old))
        assert not await directory.is_local_domain("example.org")
    for everything in ({}, {"changes": "6"}, {"changes": True}):
        watch.heard(Control(INVALIDATE_DIRECTORY, everything))
        assert watch.known == 5
    assert await directory.is_local_domain("example.org")


async def test_a_process_says_what_it_does(mesh: Mesh) -> None:
    one, two = [await mesh.station(node) for node in (1, 2)]
    ear = Ear(two.bus.subscribe(Topic.NODES))
    await mesh.settle()
    voice = NodeVoice(one.bus, NodeId(1), "imap")
    said = [NodeNotice(NodeId(1), "imap", state) for state in ("joined", "draining", "left")]

    def heard() -> bool:
        voice.say("joined")
        return said[0] in ear.events

    await until(heard, "the first word")
    voice.say("draining")
    voice.say("left")
    await until(lambda: ear.heard(*said), "all of it")
