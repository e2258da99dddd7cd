"""The bus over Redis."""

from posthorn_bus.redis.opening import redis_opening

__all__ = ["redis_opening"]
