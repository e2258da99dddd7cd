"""Connections to PostgreSQL: pools for each class of work, and the unit of work that runs in them."""

from posthorn_storage.database.admission import Load
from posthorn_storage.database.database import Connections, Database, Row, affected
from posthorn_storage.database.failures import ROLLED_BACK, translated
from posthorn_storage.database.limits import WORK, DatabaseLimits, Mode, PoolSizes, ReplicaLimits, Work
from posthorn_storage.database.pools import Pools
from posthorn_storage.database.reading import READS
from posthorn_storage.database.replica import ReplicaState
from posthorn_storage.database.undoing import Connection, Isolation

__all__ = [
    "READS",
    "ROLLED_BACK",
    "WORK",
    "Connection",
    "Connections",
    "Database",
    "DatabaseLimits",
    "Isolation",
    "Load",
    "Mode",
    "PoolSizes",
    "Pools",
    "ReplicaLimits",
    "ReplicaState",
    "Row",
    "Work",
    "affected",
    "translated",
]
