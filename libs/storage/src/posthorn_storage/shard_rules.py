"""On which shard a new account is placed: by pin, by range of names, by hash, or else at home.

Rules speak of new accounts only. Where an account lives is in its directory row; changing rules moves nobody.
"""

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

MAX_WEIGHT = 1000


@dataclass(frozen=True, slots=True)
class ShardRule:
    """Which new accounts go to the shard `name`. What no pin and no range names is shared out by weight."""

    name: str
    pins: frozenset[str] = frozenset()
    """Addresses, and domains as "@example.org", in stored form."""
    first: str = ""
    last: str = ""
    """A range of names: from `first` to `last`, both included, such as "a" to "m"; empty for none."""
    weight: int = 0
    """Its share among all weights; 0 takes part in no sharing out."""

    def in_range(self, address: str) -> bool:
        """Whether the address's first letters lie in the range; "m" ends with the last name that starts with it."""
        return bool(self.first) and self.first <= address and address[: len(self.last)] <= self.last


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """The rules of all shards, in the order of the settings: the first whose pin or range fits decides."""

    rules: Sequence[ShardRule] = ()

    def shard_for(self, address: str) -> str | None:
        """The name of the shard for a new account with this address (stored form); None is the home."""
        for wanted in (address, address[address.rfind("@") :]):
            for rule in self.rules:
                if wanted in rule.pins:
                    return rule.name
        for rule in self.rules:
            if rule.in_range(address):
                return rule.name
        weighted = [rule for rule in self.rules if rule.weight]
        return max(weighted, key=lambda rule: _score(rule, address)).name if weighted else None


def _score(rule: ShardRule, address: str) -> float:
    """Rendezvous hashing with weights: a new shard takes its share from all others, and nothing else changes."""
    digest = hashlib.blake2b(f"{rule.name}\0{address}".encode(), digest_size=8).digest()
    return -rule.weight / math.log((int.from_bytes(digest, "big") + 1) / (2**64 + 1))
