"""The lookup store over its back ends: PostgreSQL, Redis, and memory for one process."""

from posthorn_storage.lookup.backends import open_backend
from posthorn_storage.lookup.store import Lookup, Told

__all__ = ["Lookup", "Told", "open_backend"]
