"""What all nodes must say alike: each process shows its coordinator, and is told, for ever, of those that differ.

Nothing stops for it: while one node after the other is given new settings they differ for a while.
"""

import asyncio
from collections.abc import Iterable, Sequence
from typing import Final

from structlog.typing import FilteringBoundLogger

from posthorn_bus import BusSettings, KafkaSettings, NatsSettings, RedisSettings
from posthorn_model.cluster import Process
from posthorn_model.errors import PosthornError
from posthorn_storage import Storage
from posthorn_storage.roles import numbered

COORDINATOR: Final = "coordinator"
"""Under which word the address of a process in the node table has it."""
LOOK_SECONDS: Final = 60.0


def coordinator(bus: BusSettings) -> str:
    """The coordinator in a few words, without addresses (nodes may know different ones) and without secrets."""
    match bus:
        case KafkaSettings():
            return f"kafka, topics {bus.prefix}.*"
        case NatsSettings():
            return f"nats, subjects {bus.prefix}.*"
        case RedisSettings():
            return f"redis, channels {bus.prefix}.*"
        case _:
            return "peer-to-peer"


def disagreements(processes: Sequence[Process]) -> list[str]:
    """What the live processes do not say alike, in words for people; a process that says nothing agrees."""
    live = [process for process in processes if process.live]
    said = _nodes_by((process.address.get(COORDINATOR), process.node) for process in live)
    found = [f"cluster.coordinator must be the same on all nodes: {_told(said)}"] if len(said) > 1 else []
    for service in sorted({process.service for process in live}):
        names = _nodes_by((process.hostname, process.node) for process in live if process.service == service)
        if len(names) > 1:
            found.append(f"server.hostname should be the same wherever {service} runs: {_told(names)}")
    return found


async def watch_agreement(storage: Storage, log: FilteringBoundLogger, every: float = LOOK_SECONDS) -> None:
    """Tell, for ever, what nodes do not say alike: each thing once, and when it is over. `every` is in seconds."""
    told: set[str] = set()
    while True:
        try:
            found = set(disagreements(await storage.nodes.all()))
        except PosthornError as error:
            log.warning("settings of nodes not compared", reason=error.public)
        else:
            for each in sorted(found - told):
                log.warning("nodes have different settings", reason=each)
            for each in sorted(told - found):
                log.info("nodes have the same settings again", reason=each)
            told = found
        await asyncio.sleep(every)


def _nodes_by(said: Iterable[tuple[str | None, int]]) -> dict[str, set[int]]:
    nodes: dict[str, set[int]] = {}
    for value, node in said:
        if value:
            nodes.setdefault(value, set()).add(node)
    return nodes


def _told(said: dict[str, set[int]]) -> str:
    return "; ".join(f"{value} on {numbered(nodes)}" for value, nodes in sorted(said.items()))
