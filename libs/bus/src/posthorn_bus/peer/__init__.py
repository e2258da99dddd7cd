"""The bus without a coordinator: processes find each other in the node table and talk over CurveZMQ."""

from posthorn_bus.peer.bus import PeerBus

__all__ = ["PeerBus"]
