"""Which back end the settings ask for. None of them connects here: a lookup store that is down delays no start."""

import time

from posthorn_model.errors import Unavailable
from posthorn_model.lookup import LookupStore
from posthorn_storage.database import Database
from posthorn_storage.lookup.local_store import LocalLookup
from posthorn_storage.lookup.memory import MemoryCells
from posthorn_storage.lookup.postgres_store import PostgresLookup
from posthorn_storage.settings import MemorySettings, RedisSettings


def open_backend(settings: RedisSettings | MemorySettings | None, database: Database) -> LookupStore:
    """The back end of the settings; None is the database.

    Raises Unavailable when a package is not installed, ValueError for a Redis URL that is none.
    """
    if settings is None:
        return PostgresLookup(database)
    if isinstance(settings, MemorySettings):
        return LocalLookup(MemoryCells(settings.entries), time.monotonic)
    try:
        from posthorn_storage.lookup.redis_store import RedisLookup  # redis: loaded only where it is used
    except ModuleNotFoundError as error:
        raise Unavailable("Redis needs a package: install posthorn-storage[redis]", missing=error.name) from error
    return RedisLookup(settings)
