"""One peer's events coming in, and how many of them: every event has a number per topic and sender, so that nothing is
missed without a Gap.

Frames: a batch is [topic, number of its first event (8 bytes, big-endian), event, event, ...]; a heartbeat is
[HEARTBEAT, JSON {"sent": {topic: number of the last event}, "nudge": true when the node table changed}].
"""

import json
import struct
from collections.abc import Callable, Iterable, Mapping, Sequence

import zmq
import zmq.asyncio

from posthorn_bus.fanout import Fanout, Intake, Tally
from posthorn_bus.peer.contact import Contact, KeyPair
from posthorn_model.events import Topic
from posthorn_model.ports import Clock

# The version is part of the topic: a later one is simply not subscribed to.
HEARTBEAT = b"1:~"
MAX_FRAME = 65_536
MAX_BATCH = 256
HIGH_WATER = 2_000
_NUMBER = struct.Struct(">Q")


def frame_of(topic: Topic) -> bytes:
    """The first frame of a batch; no topic's is the beginning of another's."""
    return f"1:{topic.value}:".encode()


_TOPICS = {frame_of(topic): topic for topic in Topic}


def batch_frames(topic: Topic, first: int, events: Sequence[bytes]) -> list[bytes]:
    return [frame_of(topic), _NUMBER.pack(first), *events]


def heartbeat_frames(sent: Mapping[Topic, int], *, nudge: bool) -> list[bytes]:
    body = {"sent": {topic.value: number for topic, number in sent.items()}, "nudge": nudge}
    return [HEARTBEAT, json.dumps(body, separators=(",", ":")).encode()]


class Malformed(Exception):
    """Frames that no peer of this version sends."""


class Link:
    """Subscribes to one peer, whose key CURVE checks, and hands on what it says."""

    def __init__(
        self,
        context: zmq.asyncio.Context,
        contact: Contact,
        keys: KeyPair,
        clock: Clock,
        nudged: Callable[[], None],
        pace: float = 1.0,
    ) -> None:
        self.contact = contact
        self._context = context
        self._keys = keys
        self._clock = clock
        self._nudged = nudged
        self._pace = pace
        self._numbers: dict[Topic, int] = {}
        self.heard: float | None = None
        """When it was heard last, monotonic seconds."""
        self.opened = clock.monotonic()
        self._socket = self._open()

    def _open(self) -> zmq.asyncio.Socket:
        socket = self._context.socket(zmq.SUB)
        socket.linger = 0
        socket.rcvhwm = HIGH_WATER
        socket.maxmsgsize = MAX_FRAME
        socket.ipv6 = True
        socket.curve_publickey, socket.curve_secretkey = self._keys.public, self._keys.private
        socket.curve_serverkey = self.contact.public.encode()
        # A peer that vanished without a word is noticed by TCP too, and connected again.
        socket.heartbeat_ivl, socket.heartbeat_timeout = int(2000 * self._pace), int(6000 * self._pace)
        socket.reconnect_ivl, socket.reconnect_ivl_max = 50, 1000
        socket.subscribe(HEARTBEAT)
        for topic in self._numbers:
            socket.subscribe(frame_of(topic))
        socket.connect(self.contact.endpoint)
        return socket

    def close(self) -> None:
        self._socket.close()

    def want(self, topics: Iterable[Topic]) -> None:
        """Hear these topics too, from now on."""
        for topic in topics:
            if topic not in self._numbers:
                self._numbers[topic] = 0
                self._socket.subscribe(frame_of(topic))

    async def listen(self, intake: Intake, fanout: Fanout, tally: Tally) -> None:
        """Hand on what comes, for ever."""
        while True:
            frames = await self._socket.recv_multipart()
            self.heard = self._clock.monotonic()
            try:
                if frames[0] == HEARTBEAT:
                    self._beat(frames, fanout)
                else:
                    self._batch(frames, intake, fanout)
            except Malformed:
                tally.skipped += 1

    def _batch(self, frames: Sequence[bytes], intake: Intake, fanout: Fanout) -> None:
        topic = _TOPICS.get(frames[0])
        if topic is None or not 3 <= len(frames) <= MAX_BATCH + 2 or len(frames[1]) != _NUMBER.size:
            raise Malformed
        first = _NUMBER.unpack(frames[1])[0]
        if topic not in self._numbers:
            return
        self._missed(topic, first - 1, fanout)
        self._numbers[topic] = max(self._numbers[topic], first + len(frames) - 3)
        for data in frames[2:]:
            intake.take(data, self.contact.boot)

    def _beat(self, frames: Sequence[bytes], fanout: Fanout) -> None:
        try:
            body = json.loads(frames[1])
            sent = body["sent"]
            numbers = {topic: sent[topic.value] for topic in self._numbers if topic.value in sent}
        except (ValueError, TypeError, KeyError, IndexError, RecursionError) as error:
            raise Malformed from error
        if not all(type(number) is int for number in numbers.values()):
            raise Malformed
        for topic, number in numbers.items():
            self._missed(topic, number, fanout)
        if body.get("nudge") is True:
            self._nudged()

    def _missed(self, topic: Topic, before: int, fanout: Fanout) -> None:
        """Everything up to number `before` should have been heard."""
        if before > self._numbers[topic]:
            self._numbers[topic] = before
            fanout.gap(topic, f"missed events of node {self.contact.node}")
