"""The shared storage library: the only home of SQL and S3. `Storage` is its facade."""

from posthorn_storage.database.limits import PoolSizes, Regions, ReplicaLimits
from posthorn_storage.directory import AccountRecord
from posthorn_storage.directory.identities import Identity
from posthorn_storage.directory.recipients import Found
from posthorn_storage.facade import Storage
from posthorn_storage.leases import Fence
from posthorn_storage.settings import (
    BlobPlaces,
    FsSettings,
    LoginLimits,
    MemorySettings,
    PoolSettings,
    Rate,
    RedisSettings,
    S3Settings,
    SearchSettings,
    ShardSettings,
    StorageSettings,
    SubAddressing,
)
from posthorn_storage.shard_rules import PlacementRules, ShardRule

__all__ = [
    "AccountRecord",
    "BlobPlaces",
    "Fence",
    "Found",
    "FsSettings",
    "Identity",
    "LoginLimits",
    "MemorySettings",
    "PlacementRules",
    "PoolSettings",
    "PoolSizes",
    "Rate",
    "RedisSettings",
    "Regions",
    "ReplicaLimits",
    "S3Settings",
    "SearchSettings",
    "ShardRule",
    "ShardSettings",
    "Storage",
    "StorageSettings",
    "SubAddressing",
]
