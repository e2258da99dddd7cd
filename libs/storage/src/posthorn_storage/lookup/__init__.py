"""The lookup store over its back ends: PostgreSQL, Redis, and for one process memory or RocksDB."""

from posthorn_storage.lookup.store import Lookup, Told

__all__ = ["Lookup", "Told"]
