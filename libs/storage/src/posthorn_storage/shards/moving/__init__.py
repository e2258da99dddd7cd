"""Moving an account to another shard while it is in use (flows.md F)."""

from posthorn_storage.shards.moving.moves import Move, Moved, Moves, Progress

__all__ = ["Move", "Moved", "Moves", "Progress"]
