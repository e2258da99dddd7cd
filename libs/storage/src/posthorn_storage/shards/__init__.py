"""Account shards: several databases, each with all rows of the accounts that live there, and which account is where."""

from posthorn_storage.shard_rules import PlacementRules, ShardRule
from posthorn_storage.shards.placement import Placement, Placements
from posthorn_storage.shards.shard import Shard
from posthorn_storage.shards.shards import Shards

__all__ = ["Placement", "PlacementRules", "Placements", "Shard", "ShardRule", "Shards"]
