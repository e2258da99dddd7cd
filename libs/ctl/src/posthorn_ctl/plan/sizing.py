"""From a load to processes, databases and a topology, by what was measured. Pure arithmetic; says what it assumes."""

import math
from dataclasses import dataclass

from posthorn_ctl.plan.measured import SERVICES, Measured

BUSY = 0.7
"""Share of a core that a process uses at the peak: beyond it the guide says to scale."""
LOOKS_PER_HOUR = 12
"""How often each open connection looks at its mailbox in the busiest hour."""
REQUESTS_PER_HOUR = 6
"""Requests to jmap, and as many to dav, of each user in the busiest hour."""
CONNECTIONS = 8192
"""Of one imap process: its default limit."""
DATABASE_CORES = 16
"""More than that is asked of no single PostgreSQL."""
DATABASE_BYTES = 2 << 40
HOT = 0.05
"""Share of the database that is in use at a time; the machine's memory should hold it, and half as much again."""
LEAST_MEMORY, MOST_MEMORY = 4 << 30, 256 << 30
CACHE = 64 << 20
"""Bytes of blobs that a process keeps in memory, by default."""
QUEUE_SHARDS = 16
FILES_UP_TO = 1 << 40
"""Bytes of blobs that one machine's file system is good for."""
ALONE = 2.0
"""Cores of all services together that one machine carries by the way."""


@dataclass(frozen=True, slots=True)
class Load:
    """What is asked of a cluster; sizes in bytes."""

    peak_per_hour: int
    """Messages received in the busiest hour."""
    users: int
    mailbox_size: int
    message_size: int
    sent_share: float
    """Recipients elsewhere for each message received."""
    connections_per_user: float
    """IMAP connections open at once."""


@dataclass(frozen=True, slots=True)
class ServiceNeed:
    """Of one service: cores at the peak, processes for them, memory of each in bytes."""

    cores: float
    processes: int
    memory: int


@dataclass(frozen=True, slots=True)
class DatabaseNeed:
    """Of all databases together, but `memory` and `cores_each` of each."""

    cores: float
    cores_each: int
    memory: int
    size: int
    shards: int
    replicas: int
    """Standbys of each shard, one of them synchronous."""
    connections: int
    """At most, of all processes with the usual pool."""


@dataclass(frozen=True, slots=True)
class Plan:
    """The answer."""

    load: Load
    services: dict[str, ServiceNeed]
    database: DatabaseNeed
    blob_size: int
    blob_store: str
    coordinator: str
    topology: str
    nodes: int
    """Of the topology; each runs all services, or one of them, as it says."""
    assumptions: tuple[str, ...]


def plan(load: Load, costs: Measured, *, pool: int = 20) -> Plan:
    """What the load needs. `pool` is how many connections to the database a process may open."""
    cores = _cores(load, costs)
    looks = load.users * load.connections_per_user * LOOKS_PER_HOUR
    database_cores = (load.peak_per_hour * costs.postgres + looks * costs.postgres_look) / 3.6e6
    alone = sum(cores.values()) + database_cores <= ALONE and load.users < 10_000
    services = {service: _service(service, cores[service], load, costs, alone=alone) for service in SERVICES}
    processes = sum(need.processes for need in services.values())
    database = _database(load, costs, database_cores, processes * pool, alone=alone)
    blobs = load.users * load.mailbox_size
    topology, nodes = _topology(services, alone=alone)
    return Plan(
        load=load,
        services=services,
        database=database,
        blob_size=blobs,
        blob_store="fs" if alone and blobs <= FILES_UP_TO else "s3",
        coordinator="peer-to-peer" if processes <= 30 else "kafka",
        topology=topology,
        nodes=nodes,
        assumptions=_assumptions(load, costs),
    )


def _cores(load: Load, costs: Measured) -> dict[str, float]:
    """Cores that each service is busy with at the peak."""
    hour = 3.6e6
    looks = load.users * load.connections_per_user * LOOKS_PER_HOUR
    requests = load.users * REQUESTS_PER_HOUR
    return {
        "smtp-in": load.peak_per_hour * costs.smtp_in / hour,
        "smtp-out": load.peak_per_hour * load.sent_share * costs.smtp_out / hour,
        "imap": looks * costs.imap / hour,
        "jmap": requests * costs.jmap / hour,
        "dav": requests * costs.dav / hour,
        "maintenance": load.peak_per_hour * costs.maintenance / hour,
    }


def _service(service: str, cores: float, load: Load, costs: Measured, *, alone: bool) -> ServiceNeed:
    connections = math.ceil(load.users * load.connections_per_user) if service == "imap" else 0
    least = 1 if alone else 2
    wanted = max(least, math.ceil(cores / BUSY), math.ceil(connections / (CONNECTIONS * BUSY)))
    memory = costs.process + CACHE + math.ceil(connections / wanted) * costs.connection
    return ServiceNeed(cores, wanted, memory)


def _database(load: Load, costs: Measured, cores: float, connections: int, *, alone: bool) -> DatabaseNeed:
    size = load.users * math.ceil(load.mailbox_size / load.message_size) * costs.message
    shards = max(1, math.ceil(size / DATABASE_BYTES), math.ceil(cores / BUSY / DATABASE_CORES))
    memory = max(LEAST_MEMORY, min(MOST_MEMORY, math.ceil(size / shards * HOT * 1.5)))
    each = max(2, math.ceil(cores / BUSY / shards))
    return DatabaseNeed(cores, each, memory, size, shards, 0 if alone else 1, connections)


def _topology(services: dict[str, ServiceNeed], *, alone: bool) -> tuple[str, int]:
    """The topology that fits, and its number of nodes."""
    if alone:
        return "unified", 1
    most = max(need.processes for need in services.values())
    together = sum(need.processes for need in services.values())
    if most <= 3:
        return "unified", 3
    return "weighted" if most > together / 2 else "service-specific", together


def _assumptions(load: Load, costs: Measured) -> tuple[str, ...]:
    found = [
        f"measured on {costs.date}, {costs.machine}; a faster or slower core changes all processes alike",
        f"a process is one core, used to {BUSY:.0%} at the peak; at least two of each where there is a cluster",
        f"{load.sent_share:g} recipients elsewhere for each message received; a message is {load.message_size:,} bytes",
        f"{load.connections_per_user:g} IMAP connections for each user, each looks at its mailbox "
        f"{LOOKS_PER_HOUR} times an hour; {REQUESTS_PER_HOUR} requests an hour of each user to jmap and to dav",
        "TLS ends at the processes or before them and was not measured; spam and virus filters neither",
        f"a database has at most {DATABASE_CORES} cores and {DATABASE_BYTES >> 40} TiB; "
        f"{HOT:.0%} of it are in use at a time, and in memory",
    ]
    if load.peak_per_hour * load.sent_share * costs.smtp_out / 3.6e6 / BUSY > QUEUE_SHARDS:
        found.append(f"more than {QUEUE_SHARDS} smtp-out need more `cluster.queue-shards` before the database is made")
    return tuple(found)
