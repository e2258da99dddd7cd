"""Groups over a server that only passes messages on: who leads, who gets what, and how little each has to hear.

The server is in this process, so that it can be cut in two; the groups are the real ones.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass, field, replace

import pytest

from posthorn_bus import BroadcastTimes, BusIdentity
from posthorn_bus.broadcast.group import Group
from posthorn_bus.broadcast.wire import Cut, Message
from posthorn_bus.retry import cancelled
from posthorn_model.clock import SystemClock
from posthorn_model.events import Topic
from posthorn_model.ids import NodeId
from posthorn_testkit.contracts.fleet import SHARDS, until

TIMES = BroadcastTimes(beat=0.05, silence=2.0, grace=30.0)


class Line:
    """A Wire to the hub."""

    place = "a hub in this process"
    largest = 1 << 20

    def __init__(self, hub: "Hub", group: Group) -> None:
        self._hub = hub
        self._group = group
        self._channels: set[str] = set()
        self.cut = False
        self.side = 0
        self.heard: list[str] = []
        self.sent: list[str] = []

    async def listen(self, *channels: str) -> None:
        self._channels.update(channels)

    async def ignore(self, channel: str) -> None:
        self._channels.discard(channel)

    async def send(self, messages: Sequence[Message]) -> None:
        if self.cut:
            raise Cut("cut")
        for channel, payload in messages:
            self.sent.append(channel)
            self._hub.pass_on(self, channel, payload)

    async def serve(self) -> None:
        await asyncio.Event().wait()

    async def close(self) -> None:
        self.cut = True

    def hear(self, channel: str, payload: bytes) -> None:
        if self.cut or channel not in self._channels:
            return
        self.heard.append(channel)
        if channel == self._group.views:
            self._group.hear_view(payload)
        else:
            self._group.hear_beat(payload)


@dataclass
class Member:
    group: Group
    line: Line
    shown: frozenset[str] | None = None
    tasks: list["asyncio.Task[None]"] = field(default_factory=list)

    async def follow(self) -> None:
        async for keys in self.group.proposal:
            self.shown = keys

    async def end(self) -> None:
        self.line.cut = True
        await cancelled(*self.tasks)


class Hub:
    """Passes on to all on the sender's side, the sender too."""

    def __init__(self) -> None:
        self.times = TIMES
        self.members: list[Member] = []

    def pass_on(self, sender: Line, channel: str, payload: bytes) -> None:
        for member in self.members:
            if member.line.side == sender.side:
                asyncio.get_running_loop().call_soon(member.line.hear, channel, payload)

    async def join(self, count: int) -> list[Member]:
        """So many members, one after the other in no order of their boot ids."""
        joined = []
        for number in range(len(self.members), len(self.members) + count):
            identity = BusIdentity(NodeId(number + 1), "smtp-out", f"{(number * 7919) % 104_729:06}")
            group = Group(Topic.QUEUE, SHARDS, "t", identity, self.times, SystemClock())
            member = Member(group, Line(self, group))
            member.tasks = [asyncio.create_task(group.take_part(member.line)), asyncio.create_task(member.follow())]
            self.members.append(member)
            joined.append(member)
        return joined

    async def drop(self, member: Member) -> None:
        """It dies: nothing is said."""
        self.members.remove(member)
        await member.end()

    def leaders(self) -> list[Member]:
        """Who sent a view since the lists were cleared."""
        return [member for member in self.members if member.group.views in member.line.sent]

    def clear(self) -> None:
        for member in self.members:
            member.line.sent.clear()
            member.line.heard.clear()

    async def one_leader(self) -> Member:
        """Wait until only one of them leads."""
        while True:
            self.clear()
            await until(lambda: sum(len(member.line.sent) for member in self.members) > 5 * len(self.members), "beats")
            if len(leaders := self.leaders()) == 1:
                return leaders[0]


def shared(members: Sequence[Member]) -> bool:
    """Whether every key is proposed to exactly one of them."""
    return sorted(key for member in members for key in member.shown or ()) == sorted(SHARDS)


@pytest.fixture
async def hub() -> AsyncIterator[Hub]:
    hub = Hub()
    yield hub
    for member in hub.members:
        await member.end()


@pytest.mark.parametrize("count", [3, 60])
async def test_each_member_hears_one_message_a_beat_however_many_there_are(hub: Hub, count: int) -> None:
    hub.times = replace(TIMES, silence=120.0)  # nobody takes a machine that stands still for a leader who is gone
    members = await hub.join(count)
    await until(lambda: shared(members), "the keys are shared out")
    leader = await hub.one_leader()
    hub.clear()
    await until(lambda: len(leader.line.sent) >= 10, "ten views")
    others = [member for member in members if member is not leader]
    # One may be under way at either end.
    assert all(abs(len(member.line.heard) - len(leader.line.sent)) <= 1 for member in others)
    assert all(set(member.line.heard) == {member.group.views} for member in others)


async def test_who_comes_gets_a_share_and_who_leaves_leaves_its_own(hub: Hub) -> None:
    hub.times = replace(TIMES, silence=120.0)
    members = await hub.join(3)
    await until(lambda: shared(members), "three share")
    (newcomer,) = await hub.join(1)
    await until(lambda: shared(hub.members) and newcomer.shown, "four share")
    leader = await hub.one_leader()
    leaving = next(member for member in hub.members if member is not leader)
    await leaving.group.leave()
    await hub.drop(leaving)
    await until(lambda: shared(hub.members), "three share again")


async def test_a_leader_that_leaves_names_its_heir(hub: Hub) -> None:
    hub.times = replace(TIMES, silence=120.0)
    await hub.join(4)
    await until(lambda: shared(hub.members), "four share")
    leader = await hub.one_leader()
    await leader.group.leave()
    await hub.drop(leader)
    await until(lambda: shared(hub.members), "three share")
    heir = await hub.one_leader()
    assert heir is min(hub.members, key=lambda member: member.group._me)


async def test_a_leader_that_dies_is_missed(hub: Hub) -> None:
    await hub.join(4)
    await until(lambda: shared(hub.members), "four share")
    leader = await hub.one_leader()
    await hub.drop(leader)
    await until(lambda: shared(hub.members), "three share")
    await hub.one_leader()


async def test_two_halves_share_by_themselves_and_become_one_again(hub: Hub) -> None:
    members = await hub.join(6)
    await until(lambda: shared(members), "six share")
    halves = members[:3], members[3:]
    for member in halves[1]:
        member.line.side = 1
    await until(lambda: shared(halves[0]) and shared(halves[1]), "each half shares all keys")
    for member in halves[1]:
        member.line.side = 0
    await until(lambda: shared(members), "six share again")
    await hub.one_leader()


async def test_two_with_one_name_share_too(hub: Hub) -> None:
    members = await hub.join(2)
    for member in members:
        member.group._member = "1-smtp-out"
    await until(lambda: shared(members) and all(member.shown for member in members), "both have a share")
