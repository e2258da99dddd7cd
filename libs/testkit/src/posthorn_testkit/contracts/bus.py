"""The contract of the Bus port and of ownership, for every coordinator.

A test module subclasses BusContract and gives it a fixture `fleet`: buses of one cluster, each as a process of its own
would have it, over the real coordinator and the real lease table.
"""

import asyncio
import json
import os
import random
import signal
from collections import Counter
from uuid import uuid4

from posthorn_bus import BusIdentity, Echo, HeldLease, open_bus
from posthorn_bus.envelope import VERSION, Envelope, encode
from posthorn_bus.outbox import CAPACITY
from posthorn_model.clock import SystemClock
from posthorn_model.events import Changed, ChangeKind, Control, Event, LeaseNotice, NodeNotice, QueueDue, Topic
from posthorn_model.ids import AccountId, Epoch, Modseq, NodeId
from posthorn_testkit.contracts.fleet import (
    LONG,
    PATIENCE,
    QUICK,
    SHARDS,
    STEADY,
    Ear,
    Fleet,
    Station,
    idle,
    owned_by,
    paused_owner,
    probes_of,
    until,
    write_under_lease,
)
from posthorn_testkit.contracts.speaker import speaker
from posthorn_testkit.false_clock import false_clock


class BusContract:
    """What every bus must do."""

    async def test_an_event_reaches_every_process_once(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2, 3)]
        ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
        await fleet.settle(*ears)
        sent: list[Event] = [
            Changed(AccountId(7), Modseq(42), frozenset({ChangeKind.EMAIL})),
            Control("invalidate-directory", {"domain": "example.org", "list": [1, None, "ä"]}),
            QueueDue(5),
            LeaseNotice("queue/5", NodeId(1), Epoch(3), held=True),
            LeaseNotice("role/purge.stores", NodeId(1), Epoch(3), held=False),
            NodeNotice(NodeId(1), "imap", "draining", 0.5),
        ]
        for event in sent:
            stations[0].bus.publish(event)
        # One after the other per topic: when these are there, whatever came twice would be there too.
        end = probes_of(stations[0].identity, serial=77)
        for event in end:
            stations[0].bus.publish(event)
        for ear in ears:
            await until(lambda ear=ear: ear.heard(*sent, *end), "every process hears every event")  # type: ignore[misc]
            assert sorted(map(repr, ear.events)) == sorted(map(repr, [*sent, *end]))
            assert ear.gaps == []

    async def test_own_events_are_heard_without_the_coordinator(self, fleet: Fleet) -> None:
        settings, peers = fleet.unreachable()
        bus = open_bus(settings, BusIdentity(NodeId(1), "imap", uuid4().hex), peers)
        subscription = bus.subscribe(Topic.QUEUE)
        bus.publish(QueueDue(1))
        await bus.start()
        bus.publish(QueueDue(2))
        assert [await anext(subscription), await anext(subscription)] == [QueueDue(1), QueueDue(2)]
        assert not bus.health().connected
        await bus.stop()
        assert [event async for event in subscription] == []

    async def test_without_the_coordinator_every_key_is_proposed(self, fleet: Fleet) -> None:
        settings, peers = fleet.unreachable()
        bus = open_bus(settings, BusIdentity(NodeId(1), "smtp-out", uuid4().hex), peers)
        await bus.start()
        async with asyncio.timeout(PATIENCE):
            async for proposed in bus.propose(Topic.QUEUE, SHARDS):
                if proposed:
                    break
        assert proposed == frozenset(SHARDS)
        await bus.stop()

    async def test_many_changes_of_an_account_end_with_the_newest(self, fleet: Fleet) -> None:
        one, two = [await fleet.station(node) for node in (1, 2)]
        every, ear = [Ear(station.bus.subscribe(*Topic)) for station in (one, two)]
        await fleet.settle(every, ear)
        numbers = list(range(1, 301))
        random.Random(5).shuffle(numbers)
        kinds = list(ChangeKind)
        for number in numbers:
            one.bus.publish(Changed(AccountId(7), Modseq(number), frozenset({kinds[number % len(kinds)]})))
        await until(lambda: ear.newest().get(AccountId(7)) == 300, "the newest modseq arrives")
        heard = [event for event in ear.events if isinstance(event, Changed) and event.account == 7]
        assert frozenset().union(*(event.kinds for event in heard)) == frozenset(kinds)
        assert len(heard) < len(numbers)
        assert sum(isinstance(event, Changed) and event.account == 7 for event in every.events) == 300

    async def test_repeated_reordered_and_unreadable_events_are_harmless(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2)]
        ears = [Ear(station.bus.subscribe(*Topic)) for station in stations]
        await fleet.settle(*ears)
        skipped = [station.bus.health().skipped for station in stations]

        def envelope(serial: int, account: int, modseq: int) -> bytes:
            event = Changed(AccountId(account), Modseq(modseq), frozenset({ChangeKind.EMAIL}))
            return encode(Envelope(event, serial, NodeId(9), fleet.sender()))

        first, second, third = envelope(1, 12, 1), envelope(2, 12, 2), envelope(3, 12, 3)
        newer = json.dumps({**json.loads(third), "v": 99}).encode()
        stranger = json.dumps({**json.loads(third), "t": "teleported"}).encode()
        later = json.dumps({**json.loads(envelope(4, 24, 8)), "w": VERSION + 1, "new": {"shape": "round"}}).encode()
        await fleet.inject(Topic.CHANGES, third, first, b"\x00noise", newer, third, b"", second, stranger, third, later)
        for ear in ears:
            await until(lambda ear=ear: ear.newest().get(AccountId(24)) == 8, "what follows is heard")  # type: ignore[misc]
            assert ear.newest()[AccountId(12)] == 3
        assert [station.bus.health().skipped for station in stations] == [number + 4 for number in skipped]

    async def test_every_live_process_answers_an_echo(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2, 3)]
        echoes = [Echo(station.bus, station.identity, SystemClock()) for station in stations]
        answering = [asyncio.create_task(echo.answer()) for echo in echoes]
        await fleet.settle(*(Ear(station.bus.subscribe(*Topic)) for station in stations))
        boots = [station.identity.boot for station in stations]
        answers = await echoes[0].ask(boots, PATIENCE)
        assert [(answer.node, answer.boot) for answer in answers] == list(zip((1, 2, 3), boots, strict=True))
        assert all(answer.seconds > 0 for answer in answers)
        heard = stations[0].bus.health().heard
        assert set(heard) == {2, 3}
        assert all(0 <= seconds < PATIENCE for seconds in heard.values())
        async with asyncio.timeout(PATIENCE):
            # Whoever is not too busy to answer in that time is told of, though one is missing.
            while [answer.node for answer in await echoes[1].ask([*boots, "nobody"], 0.5)] != [1, 2, 3]:
                pass
        for task in answering:
            task.cancel()
        await asyncio.gather(*answering, return_exceptions=True)

    async def test_a_sender_that_dropped_events_makes_the_others_hear_a_gap(self, fleet: Fleet) -> None:
        one, two = [await fleet.station(node) for node in (1, 2)]
        ears = [Ear(station.bus.subscribe(*Topic)) for station in (one, two)]
        await fleet.settle(*ears)
        before, dropped = two.bus.health().gaps, one.bus.health().dropped
        for number in range(CAPACITY + 5):
            one.bus.publish(QueueDue(number))
        assert one.bus.health().dropped == dropped + 5
        # Counted by the bus: a subscriber without room for all that comes makes a gap of its own.
        await until(lambda: two.bus.health().gaps > before, "the other is told")
        # A coordinator that a busy machine lost for a moment makes gaps of the other topics too.
        await until(lambda: Topic.QUEUE in {gap.topic for gap in ears[1].gaps}, "its subscribers hear a gap")

    async def test_clocks_hours_apart_change_nothing(self, fleet: Fleet) -> None:
        """Of three processes the second is two hours ahead, and the third two hours behind."""
        station = await fleet.station(1)
        ear = Ear(station.bus.subscribe(*Topic))
        async with (
            speaker(fleet, 2, environ=false_clock("+2h")) as early,
            speaker(fleet, 3, environ=false_clock("-2h")) as late,
        ):
            told = [Control(f"by node {node}") for node in (1, 2, 3)]

            def everybody_hears() -> bool:
                station.bus.publish(told[0])
                early.publish(told[1])
                late.publish(told[2])
                return ear.heard(*told) and all(event in each.heard for each in (early, late) for event in told)

            await until(everybody_hears, "everybody hears everybody")

    async def test_keys_are_shared_out_and_follow_those_who_come_and_go(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2)]
        shares: dict[int, frozenset[str]] = {}

        async def take_part(station: Station) -> None:
            async for proposed in station.bus.propose(Topic.QUEUE, SHARDS):
                shares[station.identity.node] = proposed

        def is_shared(*nodes: int) -> bool:
            parts = [shares.get(NodeId(node), frozenset()) for node in nodes]
            return sorted(key for part in parts for key in part) == sorted(SHARDS) and all(parts)

        tasks = [asyncio.create_task(take_part(station)) for station in stations]
        await until(lambda: is_shared(1, 2), "two share all keys")
        tasks.append(asyncio.create_task(take_part(await fleet.station(3))))
        await until(lambda: is_shared(1, 2, 3), "three share all keys")
        assert max(map(len, shares.values())) <= 3
        tasks[1].cancel()
        await until(lambda: is_shared(1, 3), "the others take over from who left")
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def test_keys_go_to_who_is_near_them_and_to_others_when_nobody_is(self, fleet: Fleet) -> None:
        near, far = await fleet.station(1, near=SHARDS), await fleet.station(2)
        for station in (far, near):
            await station.own(fleet.leases, SHARDS, idle, times=QUICK)
        await until(lambda: owned_by([near]) == sorted(SHARDS), "who is near owns all")
        assert owned_by([far]) == []
        await near.stop()
        await until(lambda: owned_by([far]) == sorted(SHARDS), "the other owns all")

    async def test_a_role_is_proposed_to_eligible_nodes_only(self, fleet: Fleet) -> None:
        eligible = {1: ["role/acme.renew"], 2: ["role/acme.renew", "role/purge.stores"], 3: []}
        stations = [await fleet.station(node, "maintenance") for node in eligible]
        runs = Counter[str]()

        async def run(key: str, lease: HeldLease) -> None:
            runs[key] += 1
            await lease.ending.wait()

        for station in stations:
            keys = eligible[station.identity.node]
            await station.own(fleet.leases, keys, run, times=STEADY, family=Topic.ROLES)
        await until(lambda: owned_by(stations) == ["role/acme.renew", "role/purge.stores"], "both roles are held")
        assert "role/purge.stores" in stations[1].owners[0].owned
        assert not stations[2].owners[0].owned
        await stations[1].stop()
        fleet.stations.remove(stations[1])
        await until(lambda: owned_by(stations[:1]) == ["role/acme.renew"], "the role moves to the other eligible node")
        assert runs["role/purge.stores"] == 1

    async def test_who_leaves_hands_over_at_once(self, fleet: Fleet) -> None:
        stations = [await fleet.station(node) for node in (1, 2, 3)]
        ended: list[tuple[str, Epoch]] = []

        async def run(key: str, lease: HeldLease) -> None:
            assert lease.may_start() or lease.ending.is_set()  # it may be told to end before it begins
            await lease.ending.wait()
            assert not lease.may_start()
            ended.append((key, lease.epoch))

        for station in stations:
            await station.own(fleet.leases, SHARDS, run, times=STEADY)
        await until(lambda: owned_by(stations) == sorted(SHARDS) and all(s.owners[0].owned for s in stations), "shared")
        # From here on nothing may be needed to expire.
        leaving = stations.pop()
        before = dict(leaving.owners[0].owned)
        fleet.stations.remove(leaving)
        await leaving.stop()
        assert before
        assert before.items() <= set(ended)
        await until(lambda: owned_by(stations) == sorted(SHARDS), "the others own everything")
        after = await fleet.leases.holders("queue/")
        assert all(after[key][1] == epoch + 1 for key, epoch in before.items())

    async def test_a_hand_over_needs_neither_expiry_nor_polling(self, fleet: Fleet) -> None:
        leaving = await fleet.station(1)
        await leaving.own(fleet.leases, SHARDS, idle, times=LONG)
        await until(lambda: owned_by([leaving]) == sorted(SHARDS), "the first owns everything")
        other = await fleet.station(2)
        await other.own(fleet.leases, SHARDS, idle, times=LONG)
        await until(lambda: bool(other.owners[0].owned), "keys move to who came")
        await until(lambda: owned_by([leaving, other]) == sorted(SHARDS), "every key is owned again")
        fleet.stations.remove(leaving)
        await leaving.stop()
        await until(lambda: owned_by([other]) == sorted(SHARDS), "the rest moves")

    async def test_a_paused_owner_loses_its_leases_and_changes_nothing_later(self, fleet: Fleet) -> None:
        await fleet.database.execute(
            "CREATE TABLE work (id bigserial PRIMARY KEY, key text NOT NULL, epoch bigint NOT NULL, pid int NOT NULL)"
        )
        async with paused_owner(fleet, node=1) as owner:
            await until(lambda: owner.said["started"] >= len(SHARDS), "the process owns everything and works")
            await until(lambda: owner.said["wrote"] > 20, "the process writes under its leases")
            os.kill(owner.process.pid, signal.SIGSTOP)
            survivor = await fleet.station(2)
            await survivor.own(fleet.leases, SHARDS, write_under_lease(fleet.database), times=QUICK)
            await until(lambda: owned_by([survivor]) == sorted(SHARDS), "another process takes everything over")
            taken = {key: epoch for key, (_, epoch, _) in (await fleet.leases.holders("queue/")).items()}
            first = await fleet.database.fetchval("SELECT max(id) FROM work")
            os.kill(owner.process.pid, signal.SIGCONT)
            await until(lambda: owner.said["ended"] >= len(SHARDS), "its runs have ended")
            rows = await fleet.database.fetch("SELECT key, epoch FROM work WHERE id > $1", first)
            assert all(row["epoch"] >= taken[row["key"]] for row in rows)
        order = await fleet.database.fetch("SELECT key, epoch FROM work ORDER BY id")
        for key in SHARDS:
            epochs = [row["epoch"] for row in order if row["key"] == key]
            assert epochs == sorted(epochs), "an older epoch wrote after a newer one"
