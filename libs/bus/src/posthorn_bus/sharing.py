"""Sharing out keys among members: the same answer in every process that sees the same members, few moves when one
comes or goes (rendezvous hashing with bounded load). Only a proposal; leases decide.
"""

import hashlib
from collections.abc import Collection, Mapping
from functools import lru_cache, partial


def share(
    members: Mapping[str, Collection[str]], near: Mapping[str, Collection[str]] | None = None
) -> dict[str, frozenset[str]]:
    """Share out keys. `members` maps each member to the keys it may have; every member is in the result.

    `near` maps members to those of their keys that they should have rather than others: such a key is shared out among
    the members that are near it, as long as there are any.

    Each key goes to the eligible member with the highest hash that still has room; the room of a member is the even
    share among those eligible for the same keys, rounded up.
    """
    eligible: dict[str, list[str]] = {}
    for member, keys in members.items():
        for key in keys:
            eligible.setdefault(key, []).append(member)
    for key, names in eligible.items():
        eligible[key] = [name for name in names if near and key in near.get(name, ())] or names
    room: dict[str, float] = dict.fromkeys(members, 0.0)
    for names in eligible.values():
        for name in names:
            room[name] += 1 / len(names)
    taken: dict[str, set[str]] = {member: set() for member in members}
    for key in sorted(eligible, key=natural):
        # 1e-9: sums of thirds are not whole.
        open_to = [name for name in eligible[key] if len(taken[name]) + 1e-9 < room[name]]
        taken[max(open_to or eligible[key], key=partial(_score, key))].add(key)
    return {member: frozenset(keys) for member, keys in taken.items()}


def natural(key: str) -> tuple[int, str]:
    """Sorts "queue/2" before "queue/10"."""
    return len(key), key


def chance(key: str, member: str) -> float:
    """A number from 0 to 1 that is another one for each member, and always the same."""
    return int.from_bytes(_score(key, member)) / 2**64


# A thousand members and sixteen keys, shared out anew whenever one of them comes or goes.
@lru_cache(maxsize=32_768)
def _score(key: str, member: str) -> bytes:
    return hashlib.blake2b(f"{member}\0{key}".encode(), digest_size=8).digest()
