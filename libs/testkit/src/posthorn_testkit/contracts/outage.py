"""The contract of every bus when its coordinator is down at the start, answers no more or slowly, or has lost its data.

Nothing stops, the log and the health say what is wrong, and events flow again by themselves. A test module subclasses
OutageContract and gives it a fixture `fleet`: an OutageFleet, whose coordinator the tests may do this to.
"""

import abc
import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator

import pytest

from posthorn_model.events import Control, QueueDue, Topic
from posthorn_testkit.contracts.fleet import QUICK, SHARDS, Ear, Fleet, Station, idle, owned_by, until

SLOW = 0.5


class OutageFleet(Fleet):
    """Buses over a coordinator of the test's own."""

    gaps = True
    """Whether what passes the events on goes away with the coordinator, so that every topic hears a Gap."""

    @abc.abstractmethod
    async def stop(self) -> None:
        """End it without a word to anybody."""

    @abc.abstractmethod
    async def start(self) -> None:
        """Start it where it was, if it does not run."""

    @abc.abstractmethod
    async def pause(self) -> None:
        """Let it answer nobody, without closing a connection."""

    @abc.abstractmethod
    async def resume(self) -> None:
        """Go on after a pause; nothing when there was none."""

    @abc.abstractmethod
    async def forget(self) -> None:
        """End it, remove what it stored, and start it."""


class OutageContract:
    """What every bus must do."""

    async def test_down_at_the_start(self, fleet: OutageFleet, caplog: pytest.LogCaptureFixture) -> None:
        caplog.set_level(logging.WARNING)
        await fleet.stop()
        try:
            stations, ears = await two(fleet)
            await until(lambda: any(said(record) for record in caplog.records), "the log says why")
            for station in stations:
                health = station.bus.health()
                assert not health.connected
                assert health.detail
                station.bus.publish(QueueDue(1))
        finally:
            await fleet.start()
        await fleet.settle(*ears)
        await until(lambda: all(station.bus.health().connected for station in stations), "all are connected")

    async def test_it_answers_no_more_and_then_goes_on(
        self, fleet: OutageFleet, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.WARNING)
        stations, ears = await two(fleet)
        await fleet.settle(*ears)
        details = [station.bus.health().detail for station in stations]
        caplog.clear()
        await fleet.pause()
        try:
            await until(lambda: not any(station.bus.health().connected for station in stations), "it is noticed")
            await until(lambda: any(said(record) for record in caplog.records), "the log says why")
            assert all(station.bus.health().detail != detail for station, detail in zip(stations, details, strict=True))
            for number in range(1000):
                stations[0].bus.publish(QueueDue(number))
        finally:
            await fleet.resume()
        await heard_of(fleet, ears)
        await fleet.settle(*ears)

    async def test_it_answers_slowly(self, fleet: OutageFleet) -> None:
        """Whoever is there hears what is said, if late, and who comes meanwhile is let in."""
        stations, ears = await two(fleet)
        await fleet.settle(*ears)
        async with slow(fleet):
            third = await fleet.station(3)
            ears.append(Ear(third.bus.subscribe(*Topic)))
            told = [Control(f"slowly by node {station.identity.node}") for station in (*stations, third)]

            def all_heard() -> bool:
                for station, event in zip((*stations, third), told, strict=True):
                    station.bus.publish(event)
                return all(ear.heard(*told) for ear in ears)

            await until(all_heard, "everybody hears everybody")
            present = (*stations, third)
            await until(lambda: all(each.bus.health().connected for each in present), "slow is not away")
        await fleet.settle(*ears)

    async def test_it_loses_its_data(self, fleet: OutageFleet) -> None:
        stations, ears = await two(fleet)
        for station in stations:
            await station.own(fleet.leases, SHARDS, idle, times=QUICK)
        await fleet.settle(*ears)
        await until(lambda: owned_by(stations) == sorted(SHARDS), "every shard is owned")
        await fleet.forget()
        await heard_of(fleet, ears)
        await fleet.settle(*ears)
        await until(
            lambda: owned_by(stations) == sorted(SHARDS) and all(station.owners[0].owned for station in stations),
            "every shard is owned, by both",
        )


@contextlib.asynccontextmanager
async def slow(fleet: OutageFleet) -> AsyncIterator[None]:
    """Every answer takes about SLOW seconds while the block runs: it rests so long, and is awake for a moment."""

    async def rest() -> None:
        while True:
            await fleet.pause()
            await asyncio.sleep(SLOW)
            await fleet.resume()
            await asyncio.sleep(SLOW / 10)

    resting = asyncio.create_task(rest())
    try:
        yield
    finally:
        resting.cancel()
        await asyncio.gather(resting, return_exceptions=True)
        await fleet.resume()


async def two(fleet: OutageFleet) -> tuple[list[Station], list[Ear]]:
    stations = [await fleet.station(node) for node in (1, 2)]
    return stations, [Ear(station.bus.subscribe(*Topic)) for station in stations]


async def heard_of(fleet: OutageFleet, ears: list[Ear]) -> None:
    """Wait until everybody heard that something may have been missed, where that is so."""
    for ear in ears if fleet.gaps else ():
        await until(lambda ear=ear: {gap.topic for gap in ear.gaps} == set(Topic), "a gap on every topic")  # type: ignore[misc]


def said(record: logging.LogRecord) -> bool:
    """Whether the bus said it, as a line for the operator."""
    return record.name.startswith("posthorn_bus") and record.levelno >= logging.WARNING and bool(record.getMessage())
