"""Proposals from a consumer group: the group's leader shares out the keys, and every member is told its own.

Nothing is consumed. Each member says in its subscription which keys it may have (nodes may be eligible for different
roles), so the sharing is by our own assignor; the partitions handed out only show it to Kafka's tools. Keys that stay
with a member are not touched by a rebalance: the proposal is simply the same again.
"""

import asyncio
import json
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener
from aiokafka.cluster import ClusterMetadata
from aiokafka.coordinator.assignors.abstract import AbstractPartitionAssignor
from aiokafka.coordinator.protocol import ConsumerProtocolMemberAssignment, ConsumerProtocolMemberMetadata

from posthorn_bus.kafka.connection import close
from posthorn_bus.kafka.pulse import Pulse
from posthorn_bus.kafka.topics import topic_name
from posthorn_bus.proposals import Proposal
from posthorn_bus.settings import BusIdentity, KafkaSettings
from posthorn_bus.sharing import natural, share
from posthorn_model.events import Topic

_log = logging.getLogger(__name__)

HEARTBEAT_MS = 500
REBALANCE_MS = 5000
MAX_USER_DATA = 1 << 20


class KeyAssignor(AbstractPartitionAssignor):  # type: ignore[misc]
    """Shares out keys instead of partitions. One per member."""

    name = "posthorn-keys"

    def __init__(self, topic: str, member: str, keys: Sequence[str], near: Sequence[str], proposal: Proposal) -> None:
        self._topic = topic
        self._member = member
        self._keys = tuple(keys)
        self._near = [key for key in keys if key in near]
        self._proposal = proposal
        self.told = asyncio.Event()
        """Set when the group has told this member its keys."""

    def metadata(self, topics: Sequence[str]) -> ConsumerProtocolMemberMetadata:
        data = {"member": self._member, "keys": self._keys, "near": self._near}
        return ConsumerProtocolMemberMetadata(0, list(topics), json.dumps(data).encode())

    def assign(
        self, cluster: ClusterMetadata, members: Mapping[str, ConsumerProtocolMemberMetadata]
    ) -> dict[str, ConsumerProtocolMemberAssignment]:
        said = {ident: _said(metadata.user_data) for ident, metadata in members.items()}
        # The stable name goes into the hash, so that a restarted process gets back what it had.
        names = {ident: str(text.get("member")) + "\0" + ident for ident, text in said.items()}
        if len({name.partition("\0")[0] for name in names.values()}) == len(names):
            names = {ident: name.partition("\0")[0] for ident, name in names.items()}
        near = {names[ident]: frozenset(_keys(text, "near")) for ident, text in said.items()}
        shares = share({names[ident]: _keys(text) for ident, text in said.items()}, near)
        numbers = {key: number for number, key in enumerate(sorted(set().union(*shares.values()), key=natural))}
        parts = sorted(cluster.partitions_for_topic(self._topic) or ())
        assignments = {}
        for ident, name in names.items():
            shown = [number for key in shares[name] if (number := numbers[key]) in parts]
            told = json.dumps({"keys": sorted(shares[name], key=natural)}).encode()
            assignments[ident] = ConsumerProtocolMemberAssignment(0, [(self._topic, sorted(shown))], told)
        return assignments

    def on_assignment(self, assignment: ConsumerProtocolMemberAssignment) -> None:
        self.told.set()
        self._proposal.put(frozenset(_keys(_said(assignment.user_data))).intersection(self._keys))


class _Silent(ConsumerRebalanceListener):  # type: ignore[misc]
    """Pauses what is assigned: events are heard by the readers, not here."""

    def __init__(self, consumer: AIOKafkaConsumer) -> None:
        self._consumer = consumer

    def on_partitions_revoked(self, revoked: object) -> None:
        """The proposal stands until there is another."""

    def on_partitions_assigned(self, assigned: Sequence[Any]) -> None:
        self._consumer.pause(*assigned)


class Member:
    """This process's membership in the group of one family."""

    def __init__(
        self,
        family: Topic,
        keys: Sequence[str],
        settings: KafkaSettings,
        options: Mapping[str, Any],
        identity: BusIdentity,
        pulse: Pulse,
    ) -> None:
        self.proposal = Proposal()
        self._keys = tuple(keys)
        self._settings = settings
        self._options = options
        self._pulse = pulse
        self._topic = topic_name(settings, family)
        self._member = identity.member
        self._near = identity.near
        self._group = f"{settings.group or settings.prefix}.{identity.service}.{family.value}"
        self._consumer: AIOKafkaConsumer | None = None
        self._fallback: asyncio.TimerHandle | None = None

    async def take_part(self) -> None:
        """Join, and stay until the connection is lost. Raises KafkaError, OSError, TimeoutError."""
        self._arm()
        await self._pulse.wait_up()
        assignor = KeyAssignor(self._topic, self._member, self._keys, self._near, self.proposal)
        session = int(self._settings.session * 1000)
        consumer = self._consumer = AIOKafkaConsumer(
            **self._options,
            group_id=self._group,
            group_instance_id=f"{self._group}.{self._member}",
            partition_assignment_strategy=(assignor,),
            enable_auto_commit=False,
            auto_offset_reset="latest",
            session_timeout_ms=session,
            heartbeat_interval_ms=min(HEARTBEAT_MS, session // 4),
            rebalance_timeout_ms=REBALANCE_MS,
        )
        watching = asyncio.create_task(self._pulse.wait_down(), name="bus: watch group")
        staying = asyncio.create_task(self._stay(consumer, assignor), name=f"bus: group {self._group}")
        try:
            done, _ = await asyncio.wait({watching, staying}, return_when=asyncio.FIRST_COMPLETED)
            if staying in done:
                staying.result()
        finally:
            watching.cancel()
            staying.cancel()
            await asyncio.gather(watching, staying, return_exceptions=True)
            self._consumer = None
            await close(consumer.stop())

    def leave(self) -> None:
        """Make the end of this membership a real leaving, which the others hear of at once.

        A static member that only stops keeps its keys until its session ends.
        """
        if self._consumer is not None:
            # The library leaves only as a dynamic member and offers no other way to say so.
            self._consumer._coordinator._group_instance_id = None
        self._disarm()

    async def _stay(self, consumer: AIOKafkaConsumer, assignor: KeyAssignor) -> None:
        await consumer.start()
        consumer.subscribe([self._topic], listener=_Silent(consumer))
        while True:
            await consumer.getmany(timeout_ms=500)  # shows errors of the group, and that this member is alive
            if assignor.told.is_set():
                self._disarm()

    def _arm(self) -> None:
        if self._fallback is None:
            loop = asyncio.get_running_loop()
            self._fallback = loop.call_later(self._settings.grace, self._propose_all)

    def _disarm(self) -> None:
        if self._fallback is not None:
            self._fallback.cancel()
            self._fallback = None

    def _propose_all(self) -> None:
        _log.warning("no group for %s: every key is proposed, leases alone decide", self._topic)
        self.proposal.put(frozenset(self._keys))


def _said(data: bytes | None) -> Mapping[str, object]:
    """What another member wrote; nothing when it cannot be read."""
    try:
        said = json.loads(data) if data and len(data) <= MAX_USER_DATA else {}
    except (ValueError, RecursionError):
        return {}
    return said if isinstance(said, dict) else {}


def _keys(said: Mapping[str, object], name: str = "keys") -> list[str]:
    keys = said.get(name)
    return [key for key in keys if isinstance(key, str)] if isinstance(keys, list) else []
