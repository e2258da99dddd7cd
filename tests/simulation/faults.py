"""What happens to the cluster of a simulation: each fault begins at some time, and all have ended at HEALED."""

from collections.abc import Callable

from tests.simulation.world import World

FIRST, LAST, HEALED = 4.0, 16.0, 22.0
"""Seconds: when faults begin, and when all of them are over."""


def end(world: World) -> float:
    """When every key is owned again: a lease has run out, the key was seen to be bare, and is taken."""
    return HEALED + 2.5 * world.times.ttl


def plan(world: World) -> list[str]:
    """Plan the faults of a simulation, and say what they are."""
    chance = world.chance
    kinds: list[Callable[[World], str]] = [
        crash, crash, pause, pause, pause, cut_database, cut_database, cut_events, lose_database, lose_coordinator, slow
    ]  # fmt: skip
    told = []
    for _ in range(chance.randint(3, 7)):
        kind = chance.choice(kinds)
        begin = chance.uniform(FIRST, LAST)
        world.network.later(begin, lambda kind=kind: told.append(f"{world.loop.now:.3f} {kind(world)}"))
    world.network.later(HEALED, heal, world)
    return told


def victims(world: World, most: int) -> list[str]:
    """Some processes: owners above all."""
    owners = sorted({owner.name for found in world.owners().values() for owner in found})
    others = sorted(set(world.processes).difference(owners))
    count = world.chance.randint(1, most)
    pool = owners if owners and world.chance.random() < 0.8 else others or owners
    return world.chance.sample(pool, min(count, len(pool)))


def duration(world: World) -> float:
    """Up to the time when all must be over; often longer than a lease."""
    left = HEALED - world.loop.now
    return min(left, world.chance.uniform(0.1, 2.5 * world.times.ttl))


def crash(world: World) -> str:
    """SIGKILL; some come back."""
    names = victims(world, 3)
    for name in names:
        world.crash(name)
        if world.chance.random() < 0.5:
            world.network.later(duration(world), _come_back, world, name)
    return f"killed {names}"


def _come_back(world: World, name: str) -> None:
    if name not in world.processes:
        world.come_back(name)


def pause(world: World) -> str:
    """SIGSTOP and, some time later, SIGCONT."""
    names, length = victims(world, 3), duration(world)
    for name in names:
        process = world.processes[name]
        if not process.machine.stopped:
            process.machine.stop()
            world.miss(name)
            world.network.later(length, _go_on, world, name, process)
    return f"stopped {names} for {length:.3f} s"


def _go_on(world: World, name: str, process: object) -> None:
    there = world.processes.get(name)
    if there is process and there is not None:
        there.machine.go_on()
        if not world.is_cut_off(name):
            world.seen(name)


def cut_database(world: World) -> str:
    """Some processes cannot reach the database."""
    names, length = victims(world, 6), duration(world)
    world.network.without_database.update(names)
    for name in names:
        world.miss(name)
    world.network.later(length, _mend_database, world, names)
    return f"cut {names} off the database for {length:.3f} s"


def _mend_database(world: World, names: list[str]) -> None:
    world.network.without_database.difference_update(names)
    for name in names:
        if not world.is_cut_off(name):
            world.seen(name)


def cut_events(world: World) -> str:
    """Some processes hear no events and none are heard of them."""
    names, length = victims(world, 6), duration(world)
    world.network.alone.update(names)
    world.network.later(length, _mend_events, world, names)
    return f"cut {names} off the others for {length:.3f} s"


def _mend_events(world: World, names: list[str]) -> None:
    world.network.alone.difference_update(names)
    world.read_again()


def lose_database(world: World) -> str:
    """The database answers nobody; its clock goes on."""
    length = min(duration(world), 5.0)
    world.network.database_down = True
    world.network.later(length, _mend_whole_database, world)
    return f"no database for {length:.3f} s"


def _mend_whole_database(world: World) -> None:
    world.network.database_down = False
    world.read_again()


def lose_coordinator(world: World) -> str:
    """Every process is proposed everything, until the coordinator is back."""
    length = duration(world)
    world.propose_everything()
    world.network.later(length, world.read_again)
    return f"no coordinator for {length:.3f} s"


def slow(world: World) -> str:
    """Everything takes a hundred times as long."""
    length = duration(world)
    world.network.slowness = 100.0
    world.network.later(length, setattr, world.network, "slowness", 1.0)
    return f"slow for {length:.3f} s"


def heal(world: World) -> None:
    """All faults are over; who was killed and did not come back stays away."""
    network = world.network
    network.slowness, network.database_down = 1.0, False
    network.without_database.clear()
    network.alone.clear()
    for name, process in list(world.processes.items()):
        if process.machine.stopped:
            process.machine.go_on()
        world.seen(name)
    world.read_again()
