"""PeerBus: every process publishes to all others and listens to each of them.

Ownership is proposed by hashing keys over the processes that take part, as the node table shows them; all see the same
table, so they agree within seconds, and leases decide meanwhile.
"""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from functools import partial

import zmq
import zmq.asyncio

from posthorn_bus.envelope import Lost
from posthorn_bus.fanout import Fanout, Intake, Subscription, Tally
from posthorn_bus.health import health_of
from posthorn_bus.outbox import Outbox
from posthorn_bus.peer.admission import Admission
from posthorn_bus.peer.contact import KeyPair
from posthorn_bus.peer.ending import end_within
from posthorn_bus.peer.link import HIGH_WATER, MAX_BATCH, Link, batch_frames, heartbeat_frames
from posthorn_bus.peer.roster import Roster
from posthorn_bus.proposals import Proposal
from posthorn_bus.retry import cancelled, for_ever
from posthorn_bus.routing import topic_of
from posthorn_bus.settings import BusIdentity, PeerSettings
from posthorn_bus.sharing import share
from posthorn_model.events import Event, Topic
from posthorn_model.ports import BusHealth, Clock, PeerDirectory

_log = logging.getLogger(__name__)

FLUSH = 2.0


class PeerBus:
    """The Bus port over a mesh of CURVE connections."""

    def __init__(
        self,
        settings: PeerSettings,
        identity: BusIdentity,
        directory: PeerDirectory,
        clock: Clock,
        first: Callable[[Event], None] | None = None,
    ) -> None:
        self._settings = settings
        self._identity = identity
        self._clock = clock
        self._tally = Tally()
        self._fanout = Fanout(self._tally)
        self._intake = Intake(self._fanout, identity.boot, self._tally, first, clock)
        self._outbox = Outbox(identity, self._tally)
        self._roster = Roster(directory, settings, identity, self._roster_changed)
        self._keys = KeyPair.make()
        self._links: dict[str, tuple[Link, asyncio.Task[None]]] = {}
        self._sent: dict[Topic, int] = dict.fromkeys(Topic, 0)
        self._takes: dict[Topic, tuple[str, ...]] = {}
        self._proposals: dict[Topic, Proposal] = {}
        self._beat = asyncio.Event()
        self._nudge = False
        self._endpoint = ""
        self._context: zmq.asyncio.Context | None = None
        self._admission: Admission | None = None
        self._publisher: zmq.asyncio.Socket | None = None
        self._running: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._context = zmq.asyncio.Context()
        self._admission = Admission(self._context, self._roster.knows)
        self._running = asyncio.create_task(for_ever(self._run, "bus: mesh"), name="bus: mesh")

    async def stop(self) -> None:
        if self._context is None:
            return
        self._endpoint = ""
        if self._running is not None:
            await cancelled(self._running)
        # After the mesh, which opens them.
        await cancelled(*(task for _, task in self._links.values()))
        await self._send(self._outbox.drain())
        await self._send_heartbeat()
        for link, _ in self._links.values():
            link.close()
        self._links.clear()
        if self._publisher is not None:
            self._publisher.unbind(self._publisher.getsockopt_string(zmq.LAST_ENDPOINT).rstrip("\0"))
        if self._admission is not None:
            await self._admission.refuse_all()
        if self._publisher is not None:
            self._publisher.close(linger=int(FLUSH * 250))
        if self._admission is not None:
            self._admission.close()
        if not await end_within(self._context, FLUSH):
            _log.warning("the bus's connections did not end within %.0f s and are left to the process's end", FLUSH)
        self._context = self._publisher = None
        for proposal in self._proposals.values():
            proposal.close()
        self._fanout.close()

    def publish(self, event: Event) -> None:
        self._fanout.deliver(event)
        self._outbox.add(event)

    def subscribe(self, *topics: Topic) -> Subscription:
        subscription = self._fanout.subscribe(topics)
        for link, _ in self._links.values():
            link.want(topics)
        return subscription

    async def propose(self, family: Topic, keys: Sequence[str]) -> AsyncGenerator[frozenset[str], None]:
        proposal = self._proposals[family] = Proposal()
        fallback = asyncio.get_running_loop().call_later(self._settings.grace, self._propose_all, family, keys)
        try:
            await self._take_part({**self._takes, family: tuple(keys)})
            self._share_out()
            async for proposed in proposal:
                yield proposed
        finally:
            fallback.cancel()
            self._proposals.pop(family, None)
            await self._take_part({name: taken for name, taken in self._takes.items() if name is not family})

    @property
    def refused(self) -> int:
        """How many strangers were refused."""
        return self._admission.refused if self._admission else 0

    @property
    def _pace(self) -> float:
        """How many times longer than in a small mesh everything about heartbeats takes."""
        return max(1.0, len(self._links) / self._settings.calm)

    def health(self) -> BusHealth:
        now, silence = self._clock.monotonic(), self._settings.silence * self._pace
        links = [link for link, _ in self._links.values()]
        reached = sum(link.heard is not None and now - link.heard < silence for link in links)
        detail = f"{reached} of {len(links)} peers reached"
        if self._roster.failing:
            detail += ", node table not read"
        connected = self._publisher is not None and not self._roster.failing and reached == len(links)
        # Since the connection was opened, for one that has not been heard yet.
        oldest = max((now - (link.opened if link.heard is None else link.heard) for link in links), default=0.0)
        return health_of("peer-to-peer", detail, self._tally, now, connected=connected, lag_seconds=oldest)

    async def _run(self) -> None:
        """Bind, announce, then read the table, send and beat until cancelled."""
        while self._publisher is None:
            self._publisher = self._bind()
            await asyncio.sleep(0 if self._publisher else 1)
        # Before the first connection to a peer: it looks the caller's key up in the table.
        await self._roster.announce(self._endpoint, self._keys.public.decode(), self._takes)
        async with asyncio.TaskGroup() as group:
            for part in (self._roster.watch, self._send_for_ever, self._beat_for_ever, self._greet):
                group.create_task(for_ever(part, "bus: mesh"))

    def _bind(self) -> zmq.asyncio.Socket | None:
        assert self._context is not None
        host = f"[{self._settings.host}]" if ":" in self._settings.host else self._settings.host
        socket = self._context.socket(zmq.XPUB)
        socket.ipv6 = ":" in host
        socket.sndhwm = HIGH_WATER
        socket.maxmsgsize = 4096  # it receives nothing but handshakes and subscriptions
        socket.xpub_verbose = True
        socket.curve_server = True
        socket.curve_publickey, socket.curve_secretkey = self._keys.public, self._keys.private
        socket.zap_domain = b"posthorn"
        try:
            socket.bind(f"tcp://{host}:{self._settings.port}")
        except zmq.ZMQError as error:
            _log.error("the bus cannot listen on %s port %d: %s", host, self._settings.port, error)
            socket.close()
            return None
        port = str(socket.getsockopt_string(zmq.LAST_ENDPOINT)).rpartition(":")[2].rstrip("\0")
        shown = self._settings.advertise or host
        self._endpoint = f"tcp://{shown}:{port}"
        return socket

    async def _send_for_ever(self) -> None:
        while True:
            await self._send(await self._outbox.take())

    async def _send(self, batch: Sequence[tuple[Event | Lost, bytes]]) -> None:
        by_topic: dict[Topic, list[bytes]] = {}
        for event, data in batch:
            by_topic.setdefault(topic_of(event), []).append(data)
        for topic, events in by_topic.items():
            for start in range(0, len(events), MAX_BATCH):
                part = events[start : start + MAX_BATCH]
                first = self._sent[topic] + 1
                self._sent[topic] += len(part)
                await self._emit(batch_frames(topic, first, part))

    async def _beat_for_ever(self) -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.heartbeat * self._pace):
                    await self._beat.wait()
            self._beat.clear()
            await self._send_heartbeat()
            self._reopen_silent()
            await asyncio.sleep(0.02)

    async def _send_heartbeat(self) -> None:
        nudge, self._nudge = self._nudge, False
        await self._emit(heartbeat_frames(self._sent, nudge=nudge))

    async def _emit(self, frames: list[bytes]) -> None:
        if self._publisher is not None:
            await self._publisher.send_multipart(frames)

    async def _greet(self) -> None:
        """A new subscriber hears at once how many events it missed."""
        assert self._publisher is not None
        while True:
            if (await self._publisher.recv())[:1] == b"\x01":
                self._beat.set()

    def _roster_changed(self) -> None:
        contacts = self._roster.contacts
        for boot, (link, _) in list(self._links.items()):
            if contacts.get(boot) is None or contacts[boot].endpoint != link.contact.endpoint:
                self._drop(boot)
        for boot, contact in contacts.items():
            if boot not in self._links:
                self._connect(contact.boot)
        self._share_out()

    def _connect(self, boot: str) -> None:
        assert self._context is not None
        pace = max(1.0, len(self._roster.contacts) / self._settings.calm)
        link = Link(
            self._context, self._roster.contacts[boot], self._keys, self._clock, self._roster.refresh_soon, pace
        )
        link.want(self._fanout.topics())
        listen = partial(link.listen, self._intake, self._fanout, self._tally)
        listening = asyncio.create_task(for_ever(listen, "bus: peer"), name="bus: peer")
        self._links[boot] = (link, listening)

    def _drop(self, boot: str) -> None:
        """Forget a peer that left or died; what it said last may not have arrived."""
        link, listening = self._links.pop(boot)
        listening.cancel()
        link.close()
        for topic in self._fanout.topics():
            self._fanout.gap(topic, f"node {link.contact.node} ({link.contact.service}) is gone")

    def _reopen_silent(self) -> None:
        """Connect anew to peers that are not heard: libzmq gives up on one that refused it once.

        Who is connected is greeted at once, whatever the pace.
        """
        now, silence = self._clock.monotonic(), self._settings.silence
        for boot, (link, _) in list(self._links.items()):
            patience = silence if link.heard is None else silence * self._pace
            if now - max(link.opened, link.heard or 0.0) > patience and boot in self._roster.contacts:
                self._drop(boot)
                self._connect(boot)

    async def _take_part(self, takes: Mapping[Topic, tuple[str, ...]]) -> None:
        self._takes = dict(takes)
        if self._endpoint:
            await self._roster.announce(self._endpoint, self._keys.public.decode(), self._takes)
            self._nudge = True
            self._beat.set()

    def _share_out(self) -> None:
        if not self._roster.was_read:
            return
        for family, proposal in self._proposals.items():
            members = {boot: contact.takes.get(family.value, ()) for boot, contact in self._roster.contacts.items()}
            members[self._identity.boot] = self._takes.get(family, ())
            near = {boot: contact.near.get(family.value, ()) for boot, contact in self._roster.contacts.items()}
            near[self._identity.boot] = self._identity.near
            proposal.put(share(members, near)[self._identity.boot])

    def _propose_all(self, family: Topic, keys: Sequence[str]) -> None:
        if not self._roster.was_read and family in self._proposals:
            self._proposals[family].put(frozenset(keys))
