"""The bus over a real NATS server: the contract, and what is NATS's own."""

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from pathlib import Path
from uuid import uuid4

import pytest
from nats.aio.client import Client

from posthorn_bus import BroadcastTimes, BusIdentity, NatsSettings, TlsSettings, open_bus
from posthorn_bus.broadcast.frames import Head, batch
from posthorn_ctl.embedded.errors import PartError
from posthorn_model.events import Control, QueueDue, Topic
from posthorn_model.ids import NodeId
from posthorn_model.ports import PeerDirectory
from posthorn_storage.database import Database
from posthorn_testkit.certificates import certificate
from posthorn_testkit.contracts.bus import BusContract
from posthorn_testkit.contracts.fleet import Ear, Fleet, Station, until
from posthorn_testkit.nats_servers import NatsServer, nats_cluster, nats_server
from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.nats, pytest.mark.postgres]

TIMES = BroadcastTimes(beat=0.2, silence=30.0)
"""So that nobody takes a busy machine for a server that is gone."""


class NatsFleet(Fleet):
    """Buses over some servers, with a prefix of their own."""

    def __init__(self, database: Database, dsn: str, *servers: NatsServer) -> None:
        super().__init__(database, dsn)
        self.servers = servers
        self._settings = NatsSettings(
            tuple(server.address for server in servers), prefix=f"test-{uuid4().hex[:8]}", times=TIMES
        )
        self._injected = 0

    def settings(self) -> NatsSettings:
        return self._settings

    def unreachable(self) -> tuple[NatsSettings, PeerDirectory | None]:
        return replace(self._settings, servers=("127.0.0.1:1",), times=replace(TIMES, grace=0.2)), None

    def sender(self) -> str:
        return "a process of another version"

    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        head = Head(self.sender(), self._injected + 1, None)
        self._injected += len(payloads)
        await self.say(topic, batch(head, payloads))

    async def listener(self) -> tuple[Station, Ear]:
        """A process that hears CONTROL from now on."""
        station = await self.station(1)
        ear = Ear(station.bus.subscribe(Topic.CONTROL))
        await until(lambda: station.bus.health().connected and ear.gaps, "it listens")
        ear.start_over()
        return station, ear

    async def say(self, topic: Topic, *messages: bytes) -> None:
        """Publish whole messages."""
        client = Client()
        await client.connect(servers=[f"nats://{self.servers[0].address}"])
        for message in messages:
            await client.publish(f"{self._settings.prefix}.{topic.value}", message)
        await client.flush()
        await client.close()


@pytest.fixture
async def fleet(postgres_dsn: str, nats_server: NatsServer) -> AsyncIterator[NatsFleet]:
    database = await Database.open(postgres_dsn)
    fleet = NatsFleet(database, postgres_dsn, nats_server)
    yield fleet
    await fleet.close()
    await database.close()


class TestNatsBus(BusContract):
    """The whole contract."""


async def test_missed_events_are_noticed(fleet: NatsFleet) -> None:
    station, ear = await fleet.listener()
    await fleet.say(
        Topic.CONTROL,
        batch(Head("x", 7, 3600.0), [b"unreadable"]),
        batch(Head("x", 8, 0.1), [b"unreadable"]),
    )
    await until(lambda: station.bus.health().skipped == 2, "both events come")
    assert ear.gaps == []  # what it sent an hour ago was not for this process
    await fleet.say(Topic.CONTROL, batch(Head("x", 12, 0.1), []))
    await until(lambda: len(ear.gaps) == 1, "three events are missing")
    await fleet.say(Topic.CONTROL, batch(Head("y", 2, 0.0), [b"unreadable"]))
    await until(lambda: len(ear.gaps) == 2, "the event before was sent while this process listened")


@pytest.mark.parametrize(
    "message",
    [
        b"",
        b"noise",
        b"[]",
        b'{"v":2,"b":"x","n":1,"s":null}\n{}',
        b'{"v":1,"b":7,"n":1,"s":null}',
        b'{"v":1,"b":"x","n":-1,"s":null}',
        b'{"v":1,"b":"x","n":true,"s":null}',
        b'{"v":1,"b":"x","n":1,"s":"long"}',
        b'{"v":1,"b":"x","n":1,"s":NaN}',
        b'{"v":1,"b":"' + b"x" * 600 + b'","n":1,"s":null}',
        b'{"v":1,"b":"x","n":1,"s":null}' + b"\n{}" * 300,
        b"[" * 100_000,
    ],
)
async def test_malformed_messages_are_counted_and_skipped(fleet: NatsFleet, message: bytes) -> None:
    station, ear = await fleet.listener()
    await fleet.say(Topic.CONTROL, message)
    await until(lambda: station.bus.health().skipped == 1, "counted")
    await fleet.inject(Topic.CONTROL, b"unreadable too")
    await until(lambda: station.bus.health().skipped == 2, "the bus lives on")
    assert ear.events == ear.gaps == []


async def test_nobody_speaks_for_another(fleet: NatsFleet) -> None:
    station, ear = await fleet.listener()
    foreign = b'{"v":1,"t":"control","i":1,"n":9,"b":"somebody else","d":{"name":"x","detail":{}}}'
    await fleet.inject(Topic.CONTROL, foreign, foreign.replace(b"somebody else", fleet.sender().encode()))
    await until(lambda: ear.heard(Control("x")), "its own event is heard")
    assert len(ear.events) == 1
    assert station.bus.health().skipped == 1


async def test_a_dead_server_is_left_for_another(postgres_dsn: str) -> None:
    """Both buses begin on one of two servers, which dies: they find the other, hear a Gap, and go on."""
    try:
        with nats_cluster() as servers:
            database = await Database.open(postgres_dsn)
            fleet = NatsFleet(database, postgres_dsn, *servers)
            stations = [await fleet.station(node) for node in (1, 2, 3, 4)]
            ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
            await fleet.settle(*ears)
            details = [station.bus.health().detail for station in stations]
            dead = next(server for server in servers if server.address in details[0])
            dead.kill()
            moved = [ear for ear, detail in zip(ears, details, strict=True) if dead.address in detail]
            for ear in moved:
                await until(lambda ear=ear: {gap.topic for gap in ear.gaps} == set(Topic), "a gap on every topic")  # type: ignore[misc]
            await fleet.settle(*ears)
            assert all(dead.address not in station.bus.health().detail for station in stations)
            await fleet.close()
            await database.close()
    except PartError as error:
        missing(str(error))


USER, PASSWORD, TOKEN = "posthorn", "correct-horse", "t0p-secret"


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[NatsServer, Path]]:
    """A server that asks for TLS and a login, and the file of the authority."""
    folder = tmp_path_factory.mktemp("nats")
    chain, key = certificate()
    (folder / "ca.pem").write_text(chain)
    (folder / "key.pem").write_text(key)
    settings = f'tls {{ cert_file: "{folder}/ca.pem", key_file: "{folder}/key.pem" }}\n'
    settings += f'authorization {{ user: "{USER}", password: "{PASSWORD}" }}\n'
    try:
        with nats_server(settings) as server:
            yield server, folder / "ca.pem"
    except PartError as error:
        missing(str(error))


async def test_events_travel_over_tls_with_a_login(secured: tuple[NatsServer, Path]) -> None:
    server, ca = secured
    settings = NatsSettings((server.address,), user=USER, password=PASSWORD, tls=TlsSettings(ca=ca), times=TIMES)
    one, two = [open_bus(settings, BusIdentity(NodeId(node), "imap", f"boot {node}")) for node in (1, 2)]
    ear = Ear(two.subscribe(Topic.QUEUE))
    for bus in (one, two):
        await bus.start()
    await until(lambda: one.health().connected and two.health().connected, "both log in")
    one.publish(QueueDue(3))
    await until(lambda: ear.heard(QueueDue(3)), "the event arrives")
    await asyncio.gather(one.stop(), two.stop())


async def test_events_travel_with_a_token() -> None:
    try:
        with nats_server(f'authorization {{ token: "{TOKEN}" }}\n') as server:
            bus = open_bus(NatsSettings((server.address,), token=TOKEN), BusIdentity(NodeId(1), "imap", "b"))
            await bus.start()
            await until(lambda: bus.health().connected, "it logs in")
            await bus.stop()
    except PartError as error:
        missing(str(error))


@pytest.mark.parametrize("trusted", [True, False], ids=["wrong password", "unknown authority"])
async def test_why_a_server_refuses_is_told_and_no_secret_is(
    secured: tuple[NatsServer, Path], trusted: bool, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    server, ca = secured
    tls = TlsSettings(ca=ca) if trusted else TlsSettings()
    bus = open_bus(
        NatsSettings((server.address,), user=USER, password="a wrong secret", tls=tls),
        BusIdentity(NodeId(1), "imap", "b"),
    )
    await bus.start()
    reason = "Authorization Violation" if trusted else "CERTIFICATE_VERIFY_FAILED"
    await until(lambda: reason.lower() in bus.health().detail.lower(), "the detail says why")
    await until(lambda: reason.lower() in caplog.text.lower(), "the log says why")
    assert not bus.health().connected
    await bus.stop()
    assert "a wrong secret" not in caplog.text + bus.health().detail


def test_settings_that_cannot_be_are_refused() -> None:
    with pytest.raises(ValueError, match="no NATS servers"):
        NatsSettings(())
    with pytest.raises(ValueError, match="dots"):
        NatsSettings(("h:1",), prefix="a..b")
    assert "hidden" not in repr(NatsSettings(("h:1",), password="hidden", token="hidden"))
