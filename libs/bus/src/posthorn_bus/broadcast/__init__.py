"""What coordinators that only pass messages on have in common: numbers, gaps, the pulse, and the sharing out of keys.

Such a server (NATS, Redis) keeps nothing: who is not connected does not hear. Each has a small Wire of its own below
this package; everything else is the same for all.
"""

from posthorn_bus.broadcast.bus import BroadcastBus
from posthorn_bus.broadcast.wire import Cut, Wire

__all__ = ["BroadcastBus", "Cut", "Wire"]
