"""On which shard a new account is placed: in its region, there by pin, by range of names, by hash, or else at home.

Rules speak of new accounts only. Where an account lives is in its directory row; changing rules moves nobody.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from posthorn_model.errors import NotPermitted

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
    region: str = ""
    """Where the shard stands."""

    def in_range(self, address: str) -> bool:
        """Whether the address's first letters lie in the range; "m" ends with the last name that starts with it."""
        return bool(self.first) and self.first <= address and address[: len(self.last)] <= self.last


@dataclass(frozen=True, slots=True)
class PlacementRules:
    """The rules of all shards, in the order of the settings: the first whose pin or range fits decides."""

    rules: Sequence[ShardRule] = ()
    home_region: str = ""
    """Where the home stands."""
    residents: Mapping[str, str] = field(default_factory=dict)
    """Regions by addresses, and by domains as "@example.org" (stored form): whose accounts must stay there."""

    def region_for(self, address: str) -> str:
        """The region that a new account with this address (stored form) is pinned to; "" for none."""
        return self.residents.get(address) or self.residents.get(_domain(address), "")

    def shard_for(self, address: str, region: str = "") -> str | None:
        """The name of the shard for a new account with this address (stored form); None is the home.

        With a `region` only shards there come into question. Raises NotPermitted when none stands there.
        """
        rules = [rule for rule in self.rules if region in ("", rule.region)]
        for wanted in (address, _domain(address)):
            for rule in rules:
                if wanted in rule.pins:
                    return rule.name
        for rule in rules:
            if rule.in_range(address):
                return rule.name
        weighted = [rule for rule in rules if rule.weight]
        if weighted:
            return max(weighted, key=lambda rule: _score(rule, address, rule.weight)).name
        if region in ("", self.home_region):
            return None
        if not rules:
            raise NotPermitted(f'no shard of these settings stands in the region "{region}"', region=region)
        return max(rules, key=lambda rule: _score(rule, address, 1)).name


def _domain(address: str) -> str:
    return address[address.rfind("@") :]


def _score(rule: ShardRule, address: str, weight: int) -> float:
    """Rendezvous hashing with weights: a new shard takes its share from all others, and nothing else changes."""
    digest = hashlib.blake2b(f"{rule.name}\0{address}".encode(), digest_size=8).digest()
    return -weight / math.log((int.from_bytes(digest, "big") + 1) / (2**64 + 1))
