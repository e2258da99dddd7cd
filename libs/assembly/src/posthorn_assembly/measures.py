"""Metrics of what a process stores in: connections by class of work, and replicas, when they are scraped; look-ups."""

from functools import partial

from posthorn_node.metrics import Metrics
from posthorn_storage import Storage
from posthorn_storage.database import READS, WORK, Pools, Work

LOADS = {
    "in_use": "Units of work that have a connection",
    "waiting": "Units of work that wait for a connection",
    "refused": "Units of work refused because no connection was free in time, or too many waited",
}
STATES = {
    "used": "Whether the replica is read from (1) or left out (0)",
    "lag_bytes": "What the primary had written at the last look and the replica had not replayed",
    "lag_seconds": "Age of the last transaction that the replica has replayed, 0 when it has replayed all",
}


def measure_databases(metrics: Metrics, storage: Storage) -> None:
    """Show the connections of `storage` in `metrics`."""
    opened = metrics.gauge("database_connections_open", "Connections that are open", ["store"])
    idle = metrics.gauge("database_connections_idle", "Open connections that nothing uses", ["store"])
    loads = {name: metrics.gauge(f"database_{name}", text, ["store", "work"]) for name, text in LOADS.items()}
    states = {
        name: metrics.gauge(f"database_replica_{name}", text, ["store", "replica"]) for name, text in STATES.items()
    }
    reads = metrics.gauge(
        "database_reads", "Reads of an account by where they went, while there are replicas", ["store", "how"]
    )
    for store, pools in storage.databases().items():
        opened.labels(store).set_function(partial(getattr, pools, "opened"))
        idle.labels(store).set_function(partial(getattr, pools, "idle"))
        for name, gauge in loads.items():
            for work in WORK:
                gauge.labels(store, work).set_function(partial(_load, pools, work, name))
        if pools.replicas is None:
            continue
        for number, state in enumerate(pools.replicas.states()):
            for name, gauge in states.items():
                gauge.labels(store, state.name).set_function(partial(_state, pools, number, name))
        for how in READS:
            reads.labels(store, how).set_function(partial(_reads, pools, how))


def measure_lookups(metrics: Metrics, storage: Storage) -> None:
    """Count the calls of the lookup store of `storage` in `metrics`, as they end."""
    calls = metrics.counter("lookup_calls", "Calls of the lookup store by outcome", ["operation", "outcome"])
    seconds = metrics.histogram("lookup_seconds", "Time that a call of the lookup store took", ["operation"])

    def told(operation: str, taken: float, outcome: str) -> None:
        calls.labels(operation, outcome).inc()
        seconds.labels(operation).observe(taken)

    storage.lookup.told = told


def measure_blobs(metrics: Metrics, storage: Storage) -> None:
    """Show in `metrics` from where blobs were read."""
    gauge = metrics.gauge("blob_reads", "Reads of blobs by where they were served from", ["place"])
    for place in storage.blobs.served():
        gauge.labels(place).set_function(partial(_served, storage, place))


def _served(storage: Storage, place: str) -> float:
    return float(storage.blobs.served()[place])


def _load(pools: Pools, work: Work, name: str) -> float:
    return float(getattr(pools.load()[work], name))


def _state(pools: Pools, number: int, name: str) -> float:
    state = pools.replicas.states()[number] if pools.replicas is not None else None
    return float(getattr(state, name, 0))


def _reads(pools: Pools, how: str) -> float:
    return float(pools.replicas.counts().get(how, 0)) if pools.replicas is not None else 0.0
