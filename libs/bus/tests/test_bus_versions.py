"""Old and new processes of one cluster, side by side, on a real coordinator (design law 11, decision 0020).

The older one speaks version 1 as it was recorded when it was left; the newer one is this version with what a later one
may bring: another number, fields nobody knows, and a known type that only readers of its own version may read.
"""

import inspect
from collections.abc import AsyncIterator
from pathlib import Path
from uuid import uuid4

import pytest

from posthorn_bus import KafkaSettings, PeerSettings, envelope
from posthorn_bus.envelope import VERSION
from posthorn_bus.settings import BusSettings
from posthorn_model.events import Changed, ChangeKind, Control, EchoAsked, Event, QueueDue, Topic
from posthorn_model.ids import AccountId, Modseq
from posthorn_model.ports import PeerDirectory
from posthorn_storage.database import Database
from posthorn_testkit.contracts.fleet import Ear, Fleet, until
from posthorn_testkit.contracts.speaker import speaker

pytestmark = [pytest.mark.kafka, pytest.mark.postgres]

OLDER = Path(__file__).parent / "schemas" / "version_1.txt"
LATER = {
    f"VERSION = {VERSION}\n": f"VERSION = {VERSION + 1}\n",
    '"t": kind,': '"t": kind, "novel": {"shape": ["round"]},',
    '"queue-due", {"shard": event.shard}': '"queue-due", {"shard": event.shard, "of": "tomorrow"}',
    '_LEAST = {"': f'_LEAST = {{"queue-due": {VERSION + 1}, "',
}


class Cluster(Fleet):
    """Processes over the coordinator that the test names."""

    def __init__(self, database: Database, dsn: str, settings: BusSettings) -> None:
        super().__init__(database, dsn)
        self._settings = settings

    def settings(self) -> BusSettings:
        return self._settings

    def unreachable(self) -> tuple[BusSettings, PeerDirectory | None]:
        raise NotImplementedError

    def sender(self) -> str:
        raise NotImplementedError

    async def inject(self, topic: Topic, *payloads: bytes) -> None:
        raise NotImplementedError


@pytest.fixture(params=["kafka", "peer-to-peer"])
async def cluster(request: pytest.FixtureRequest, postgres_dsn: str) -> AsyncIterator[Cluster]:
    settings: BusSettings = PeerSettings(secret="a secret", heartbeat=0.3, refresh=0.5, silence=30.0)
    if request.param == "kafka":
        servers = request.getfixturevalue("kafka_servers")
        settings = KafkaSettings((servers,), prefix=f"test-{uuid4().hex[:8]}", change_partitions=3)
    database = await Database.open(postgres_dsn)
    cluster = Cluster(database, postgres_dsn, settings)
    yield cluster
    await cluster.close()
    await database.close()


def changed(account: int, modseq: int = 1) -> Event:
    return Changed(AccountId(account), Modseq(modseq), frozenset({ChangeKind.EMAIL}))


async def test_three_versions_side_by_side(cluster: Cluster, tmp_path: Path) -> None:
    later = inspect.getsource(envelope)
    for old, new in LATER.items():
        assert later.count(old) == 1
        later = later.replace(old, new)
    (tmp_path / "later.txt").write_text(later)
    async with (
        speaker(cluster, 1, schema=OLDER) as old,
        speaker(cluster, 3, schema=tmp_path / "later.txt") as new,
    ):
        station = await cluster.station(2)
        ear = Ear(station.bus.subscribe(*Topic))

        def all_hear() -> bool:
            old.publish(Control("from 1"))
            station.bus.publish(Control("from 2"))
            new.publish(Control("from 3"))
            wanted = [Control(f"from {node}") for node in (1, 2, 3)]
            return all(event in known for event in wanted for known in (old.heard, ear.events, new.heard))

        await until(all_hear, "each hears each")
        for kind in (old, new):
            kind.ask_health()
        await until(lambda: old.health and new.health, "their counts")
        skipped = [old.health["skipped"], station.bus.health().skipped, new.health["skipped"]]
        # The newer one: what all can read, what only it can, and what all can again.
        new.publish(changed(31), QueueDue(3), changed(32))
        # This one: a type that the older one does not know, and what follows.
        station.bus.publish(EchoAsked("a question"))
        station.bus.publish(changed(2))
        old.publish(changed(1), QueueDue(1))
        mine = [changed(1), changed(2), changed(31), changed(32), QueueDue(1)]
        await until(lambda: all(event in old.heard for event in mine), "the older one hears all it knows")
        await until(lambda: ear.heard(*mine, EchoAsked("a question")), "so does this one")
        await until(lambda: all(event in new.heard for event in [*mine, EchoAsked("a question")]), "and the newer one")

        def counted() -> bool:
            old.ask_health()
            new.ask_health()
            now = [old.health["skipped"], station.bus.health().skipped, new.health["skipped"]]
            return [after - before for after, before in zip(now, skipped, strict=True)] == [2, 1, 0]

        await until(counted, "what a reader must not read is counted")
        assert QueueDue(3) not in [*old.heard, *ear.events]
