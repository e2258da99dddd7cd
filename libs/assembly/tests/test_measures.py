"""Metrics of connections, as Prometheus scrapes them."""

import pytest

from posthorn_assembly.measures import measure_databases
from posthorn_node.metrics import Metrics
from posthorn_storage import Storage

pytestmark = pytest.mark.postgres


async def test_connections_are_shown_by_class_of_work(storage: Storage) -> None:
    metrics = Metrics()
    measure_databases(metrics, storage)
    pools = storage.databases()["postgres"]
    async with pools.delivery.connection(), pools.delivery.connection(), pools.maintenance.connection():
        shown = metrics.exposition().decode()
    assert 'posthorn_database_in_use{store="postgres",work="delivery"} 2.0' in shown
    assert 'posthorn_database_in_use{store="postgres",work="maintenance"} 1.0' in shown
    assert 'posthorn_database_connections_open{store="postgres"} 3.0' in shown
    assert 'posthorn_database_connections_idle{store="postgres"} 0.0' in shown
    assert "posthorn_database_replica_used{" not in shown
    assert 'posthorn_database_in_use{store="postgres",work="delivery"} 0.0' in metrics.exposition().decode()
