"""The bus over NATS."""

from posthorn_bus.nats.wire import nats_opening

__all__ = ["nats_opening"]
