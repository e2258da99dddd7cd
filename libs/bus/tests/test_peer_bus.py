"""The bus from peer to peer over the real node table: the contract, and who is let in."""

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import pytest
import zmq
import zmq.asyncio

from posthorn_bus import BusIdentity, PeerSettings, open_bus
from posthorn_bus.peer import PeerBus
from posthorn_bus.peer.contact import Contact, KeyPair, announcement, contact_of
from posthorn_bus.peer.link import HEARTBEAT, batch_frames, frame_of, heartbeat_frames
from posthorn_model.clock import SystemClock
from posthorn_model.errors import Unavailable
from posthorn_model.events import Control, QueueDue, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import Peer, PeerDirectory
from posthorn_storage.database import Database
from posthorn_testkit.contracts.bus import BusContract
from posthorn_testkit.contracts.fleet import PATIENCE, SHARDS, Ear, Fleet, until

pytestmark = pytest.mark.postgres

SECRET = "the secret of this cluster"


class NoTable:
    """A node table whose database does not answer: every question fails as the real one's does."""

    async def live_peers(self) -> Sequence[Peer]:
        raise Unavailable

    async def announce(self, address: Mapping[str, Any]) -> None:
        raise Unavailable


class StuckTable:
    """The real node table, until its database keeps a question for itself."""

    def __init__(self, table: PeerDirectory) -> None:
        self._table = table
        self.stuck = False
        self.asked = False

    async def live_peers(self) -> Sequence[Peer]:
        if self.stuck:
            self.asked = True
            await asyncio.Event().wait()
        return await self._table.live_peers()

    async def announce(self, address: Mapping[str, Any]) -> None:
        await self._table.announce(address)


class OtherVersion:
    """A member that speaks frame by frame: a process of another version, or a faulty one."""

    def __init__(self, fleet: "PeerFleet") -> None:
        self.identity = BusIdentity(NodeId(9), "imap", "a process of another version")
        self.keys = KeyPair.make()
        self._fleet = fleet
        self._context = zmq.asyncio.Context()
        self._socket = self._context.socket(zmq.XPUB)
        self._socket.xpub_verbose = True
        self._socket.curve_server = True
        self._socket.curve_publickey, self._socket.curve_secretkey = self.keys.public, self.keys.private
        port = self._socket.bind_to_random_port("tcp://127.0.0.1")
        self.endpoint = f"tcp://127.0.0.1:{port}"
        self.sent: dict[Topic, int] = dict.fromkeys(Topic, 0)

    async def join(self, topic: Topic, subscribers: int) -> None:
        """Announce itself and wait until so many processes listen to `topic`."""
        await self._fleet.beat(self.identity)
        shown = announcement(SECRET, self.identity.boot, self.endpoint, self.keys.public.decode(), {})
        await self._fleet.nodes.announce(self.identity.boot, shown)
        while subscribers:
            subscribers -= await self._socket.recv() == b"\x01" + frame_of(topic)

    async def say(self, *frames: bytes) -> None:
        await self._socket.send_multipart(frames)

    async def publish(self, topic: Topic, *payloads: bytes) -> None:
        await self.say(*batch_frames(topic, self.sent[topic] + 1, payloads))
        self.sent[topic] += len(payloads)

    def close(self) -> None:
        self._socket.close(linger=0)
        self._context.term()


class PeerFleet(Fleet):
    """Buses that find each other in one node table."""

    other: OtherVersion | None = None

    def settings(self) -> PeerSettings:
        # So long a silence that nobody takes a busy machine for a peer that is gone.
        return PeerSettings(secret=SECRET, heartbeat=0.3, refresh=0.5, silence=30.0)

    def unreachable(self) -> tuple[PeerSettings, PeerDirectory | None]:
        return PeerSettings(secret=SECRET, grace=0.2, refresh=0.1), NoTable()

    def sender(self) -> str:
        return "a process of another version"

    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        if self.other is None:
            self.other = OtherVersion(self)
            await self.other.join(topic, len(self.stations))
        await self.other.publish(topic, *payloads)

    async def close(self) -> None:
        await super().close()
        if self.other is not None:
            self.other.close()


@pytest.fixture
async def fleet(postgres_dsn: str) -> AsyncIterator[PeerFleet]:
    database = await Database.open(postgres_dsn)
    fleet = PeerFleet(database, postgres_dsn)
    yield fleet
    await fleet.close()
    await database.close()


class TestPeerBus(BusContract):
    """The whole contract."""


async def test_a_stranger_is_refused(fleet: PeerFleet) -> None:
    """Neither a key that is not in the table nor one without proof gets in, though it knows address and server key."""
    station = await fleet.station(1)
    bus = station.bus
    assert isinstance(bus, PeerBus)
    await until(lambda: bus.health().connected, "the bus listens")
    row = (await fleet.nodes.peer_directory("x").live_peers())[0]
    contact = contact_of(row, SECRET)
    assert contact is not None
    unproven = BusIdentity(NodeId(2), "imap", "an intruder")
    await fleet.beat(unproven)
    context = zmq.asyncio.Context()
    try:
        for boot in (None, unproven.boot):
            keys = KeyPair.make()
            if boot is not None:
                shown = announcement("a guess", boot, "tcp://127.0.0.1:9", keys.public.decode(), {})
                await fleet.nodes.announce(boot, shown)
            refused = bus.refused
            socket = context.socket(zmq.SUB)
            socket.linger = 0
            socket.curve_publickey, socket.curve_secretkey = keys.public, keys.private
            socket.curve_serverkey = contact.public.encode()
            socket.subscribe(b"")
            monitor = socket.get_monitor_socket(zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_HANDSHAKE_SUCCEEDED)
            socket.connect(contact.endpoint)
            event = int.from_bytes((await monitor.recv_multipart())[0][:2], "little")
            assert event == zmq.EVENT_HANDSHAKE_FAILED_AUTH
            assert bus.refused == refused + 1
            socket.disable_monitor()
            socket.close()
    finally:
        context.destroy(linger=0)
    assert bus.health().detail == "0 of 0 peers reached"


async def test_a_peer_without_encryption_is_refused(fleet: PeerFleet) -> None:
    station = await fleet.station(1)
    await until(lambda: station.bus.health().connected, "the bus listens")
    contact = contact_of((await fleet.nodes.peer_directory("x").live_peers())[0], SECRET)
    assert contact is not None
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    socket.linger = 0
    monitor = socket.get_monitor_socket(
        zmq.EVENT_HANDSHAKE_SUCCEEDED | zmq.EVENT_HANDSHAKE_FAILED_PROTOCOL | zmq.EVENT_DISCONNECTED
    )
    socket.connect(contact.endpoint)
    event = int.from_bytes((await monitor.recv_multipart())[0][:2], "little")
    assert event != zmq.EVENT_HANDSHAKE_SUCCEEDED
    socket.disable_monitor()
    socket.close()
    context.destroy(linger=0)


async def test_a_bus_ends_while_somebody_is_being_admitted(fleet: PeerFleet) -> None:
    """libzmq would wait for ever for a connection whose question was never answered."""
    identity = BusIdentity(NodeId(1), "imap", "leaves early")
    await fleet.beat(identity)
    table = StuckTable(fleet.nodes.peer_directory(identity.boot))
    bus = open_bus(fleet.settings(), identity, table)
    await bus.start()
    await until(lambda: bus.health().connected, "the bus listens")
    contact = contact_of((await fleet.nodes.peer_directory("x").live_peers())[0], SECRET)
    assert contact is not None
    table.stuck = True
    context = zmq.asyncio.Context()
    socket = context.socket(zmq.SUB)
    keys = KeyPair.make()
    socket.curve_publickey, socket.curve_secretkey = keys.public, keys.private
    socket.curve_serverkey = contact.public.encode()
    ends = zmq.EVENT_HANDSHAKE_FAILED_AUTH | zmq.EVENT_DISCONNECTED
    monitor = socket.get_monitor_socket(ends | zmq.EVENT_HANDSHAKE_SUCCEEDED)
    socket.connect(contact.endpoint)
    try:
        await until(lambda: table.asked, "the newcomer's key is looked up")
        async with asyncio.timeout(PATIENCE):
            await bus.stop()
        event = int.from_bytes((await monitor.recv_multipart())[0][:2], "little")
        assert event & ends
    finally:
        socket.disable_monitor()
        context.destroy(linger=0)


async def test_missed_events_are_noticed(fleet: PeerFleet) -> None:
    station = await fleet.station(1)
    ear = Ear(station.bus.subscribe(Topic.CONTROL))
    await until(lambda: station.bus.health().connected, "the bus listens")
    fleet.other = other = OtherVersion(fleet)
    await other.join(Topic.CONTROL, 1)
    await other.say(*heartbeat_frames({Topic.CONTROL: 0}, nudge=False))
    await other.publish(Topic.CONTROL, b"unreadable")
    await until(lambda: station.bus.health().skipped == 1, "the first event comes")
    assert ear.gaps == []
    other.sent[Topic.CONTROL] += 3
    await other.publish(Topic.CONTROL, b"unreadable")
    await until(lambda: len(ear.gaps) == 1, "three events are missing")
    await other.say(*heartbeat_frames({Topic.CONTROL: 9, Topic.QUEUE: 4}, nudge=False))
    await until(lambda: len(ear.gaps) == 2, "a heartbeat tells of later ones")
    assert {gap.topic for gap in ear.gaps} == {Topic.CONTROL}


@pytest.mark.parametrize(
    "frames",
    [
        [HEARTBEAT],
        [HEARTBEAT, b"noise"],
        [HEARTBEAT, b"[]"],
        [HEARTBEAT, b'{"sent":{"control":"9"}}'],
        [HEARTBEAT, b'{"sent":null}'],
        [frame_of(Topic.CONTROL)],
        [frame_of(Topic.CONTROL), b"1"],
        [frame_of(Topic.CONTROL), b"1", b"{}"],
        [frame_of(Topic.CONTROL) + b"more", bytes(8), b"{}"],
    ],
)
async def test_malformed_frames_are_counted_and_skipped(fleet: PeerFleet, frames: list[bytes]) -> None:
    station = await fleet.station(1)
    ear = Ear(station.bus.subscribe(Topic.CONTROL))
    await until(lambda: station.bus.health().connected, "the bus listens")
    fleet.other = other = OtherVersion(fleet)
    await other.join(Topic.CONTROL, 1)
    await other.say(*frames)
    await until(lambda: station.bus.health().skipped == 1, "counted")
    await other.publish(Topic.CONTROL, b"unreadable too")
    await until(lambda: station.bus.health().skipped == 2, "the link lives on")
    assert ear.events == ear.gaps == []


async def test_the_age_of_the_oldest_heartbeat_is_told(fleet: PeerFleet) -> None:
    station = await fleet.station(1)
    await until(lambda: station.bus.health().connected, "the bus listens")
    assert station.bus.health().lag_seconds == 0.0
    fleet.other = other = OtherVersion(fleet)
    ear = Ear(station.bus.subscribe(Topic.CONTROL))
    await other.join(Topic.CONTROL, 1)
    await until(lambda: station.bus.health().lag_seconds > 0.5, "it says nothing")
    clock = SystemClock()
    said = clock.monotonic()
    await other.say(*heartbeat_frames({Topic.CONTROL: 1}, nudge=False))
    await until(lambda: ear.gaps, "the heartbeat is heard")
    assert station.bus.health().lag_seconds <= clock.monotonic() - said


async def test_a_large_mesh_beats_slowly_and_misses_nothing(fleet: PeerFleet) -> None:
    """Three peers where one is many: everything about heartbeats takes three times as long, and is said to be well."""
    calm = replace(fleet.settings(), calm=1, heartbeat=30.0, silence=60.0)
    fleet.settings = lambda: calm  # type: ignore[method-assign]
    stations = [await fleet.station(node) for node in (1, 2, 3, 4)]
    ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
    # Heartbeats come every 90 s: who connects is greeted, and events bring their numbers with them.
    await fleet.settle(*ears)
    assert [station.bus.health().detail for station in stations] == ["3 of 3 peers reached"] * 4
    stations[0].bus.publish(QueueDue(5))
    for ear in ears:
        await until(lambda ear=ear: ear.heard(QueueDue(5)), "an event is heard")  # type: ignore[misc]
        assert ear.gaps == []


async def test_nobody_speaks_for_another(fleet: PeerFleet) -> None:
    """An event that shows another sender than the one whose key opened the connection is dropped."""
    station = await fleet.station(1)
    ear = Ear(station.bus.subscribe(Topic.CONTROL))
    await until(lambda: station.bus.health().connected, "the bus listens")
    fleet.other = other = OtherVersion(fleet)
    await other.join(Topic.CONTROL, 1)
    foreign = b'{"v":1,"t":"control","i":1,"n":9,"b":"somebody else","d":{"name":"x","detail":{}}}'
    own = foreign.replace(b"somebody else", other.identity.boot.encode())
    await other.publish(Topic.CONTROL, foreign, own)
    await until(lambda: ear.heard(Control("x")), "its own event is heard")
    assert len(ear.events) == 1
    assert station.bus.health().skipped == 1


async def test_a_peer_that_dies_leaves_a_gap_and_its_keys(fleet: PeerFleet) -> None:
    one = await fleet.station(1)
    ear = Ear(one.bus.subscribe(*Topic))
    fleet.other = other = OtherVersion(fleet)
    await other.join(Topic.CONTROL, 1)
    shown = announcement(SECRET, other.identity.boot, other.endpoint, other.keys.public.decode(), {Topic.QUEUE: SHARDS})
    service = BusIdentity(NodeId(9), "smtp-out", "takes part")
    await fleet.beat(service)
    await fleet.nodes.announce(other.identity.boot, shown)
    proposed: list[frozenset[str]] = []

    async def take_part() -> None:
        async for keys in one.bus.propose(Topic.QUEUE, SHARDS):
            proposed.append(keys)

    task = asyncio.create_task(take_part())
    await until(lambda: proposed and 0 < len(proposed[-1]) < len(SHARDS), "the keys are shared with the other")
    ear.gaps.clear()
    await fleet.die(other.identity)
    await until(lambda: proposed[-1] == frozenset(SHARDS), "all keys are proposed to who is left")
    await until(lambda: {gap.topic for gap in ear.gaps} == set(Topic), "a gap on every topic")
    task.cancel()
    await asyncio.gather(task, return_exceptions=True)


def test_an_address_is_believed_only_with_its_proof() -> None:
    keys = KeyPair.make()
    good = announcement(SECRET, "b", "tcp://10.0.0.1:9", keys.public.decode(), {Topic.QUEUE: SHARDS})

    def read(secret: str = SECRET, boot: str = "b", **other: object) -> Contact | None:
        return contact_of(
            Peer(NodeId(1), "imap", boot, "", good | {k.replace("_", "-"): v for k, v in other.items()}), secret
        )

    contact = read()
    assert contact is not None
    assert contact.takes["queue"] == SHARDS
    assert len(contact.raw_key) == 32
    assert repr(keys) == f"KeyPair({keys.public.decode()})"
    assert read(secret="another") is None
    assert read(boot="c") is None
    assert read(bus="tcp://10.6.6.6:9") is None
    assert read(bus_key=KeyPair.make().public.decode()) is None
    assert read(bus_key="short") is None
    assert read(bus_key="\\" * 40) is None
    assert read(bus_proof=None) is None
    assert read(bus=5) is None
    tolerant = read(bus_takes={"queue": "all", "weather": ["x"], "roles": ["role/a", 5]})
    assert tolerant is not None
    assert tolerant.takes == {"roles": ("role/a",)}


def test_the_peer_to_peer_bus_needs_the_node_table() -> None:
    with pytest.raises(ValueError, match="node table"):
        open_bus(PeerSettings(), BusIdentity(NodeId(1), "imap", "b"))


async def test_events_published_before_the_mesh_stands_are_not_lost_in_silence(fleet: PeerFleet) -> None:
    one = await fleet.station(1)
    await until(lambda: one.bus.health().connected, "the first listens")
    for shard in range(5):
        one.bus.publish(QueueDue(shard))
    two = await fleet.station(2)
    ear = Ear(two.bus.subscribe(Topic.QUEUE))
    await until(lambda: ear.gaps or ear.heard(*(QueueDue(shard) for shard in range(5))), "told of what it missed")
