"""In which region each shard stands, as the cluster has it registered, and who may only live in which.

The settings say it, a migration registers it, and every process that says something else refuses to start: so that one
node with other settings cannot place an account where it may not be. Where an account may live is judged in the
transaction that places it, which holds what is registered fast until it ends.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from posthorn_model.errors import NotPermitted, Unavailable
from posthorn_storage.database import Database
from posthorn_storage.settings import StorageSettings
from posthorn_storage.shards.shard import HOME

REGISTERED = "SELECT value FROM cluster_setting WHERE name = 'shard_regions'"

HELD = f"{REGISTERED} FOR SHARE"

REGISTER = """
INSERT INTO cluster_setting (name, value) VALUES ('shard_regions', $1::jsonb)
ON CONFLICT (name) DO UPDATE SET value = cluster_setting.value || EXCLUDED.value
"""

# Whoever places an account meanwhile waits for this transaction, and then sees the new region.
LOCK = "SELECT value FROM cluster_setting WHERE name = 'shard_regions' FOR UPDATE"

PINNED_ELSEWHERE = "SELECT region FROM account WHERE shard = $1 AND region <> '' AND region <> $2 LIMIT 1"


class Reader(Protocol):
    """What can be asked for one value: a connection of either kind."""

    async def fetchval(self, query: str, *arguments: Any) -> Any: ...


def said_by(settings: StorageSettings, numbers: Mapping[str, int]) -> dict[int, str]:
    """The regions that the settings name, by the shards' numbers; a shard about which they say nothing is left out."""
    said = {HOME: settings.pools.regions.primary}
    said |= {numbers[shard.name]: shard.pools.regions.primary for shard in settings.shards if shard.name in numbers}
    return {number: region for number, region in said.items() if region}


async def register_regions(connection: Any, said: Mapping[int, str]) -> None:
    """Register regions, in a transaction of the caller's. Raises NotPermitted.

    A shard where accounts live that are pinned to another region keeps its own: move those first.
    """
    if not said:
        return
    await connection.fetchval(LOCK)
    for number, region in said.items():
        pinned = await connection.fetchval(PINNED_ELSEWHERE, number, region)
        if pinned is not None:
            raise NotPermitted(
                f'accounts pinned to the region "{pinned}" live on a shard that the settings put in "{region}"',
                shard=number,
            )
    await connection.execute(REGISTER, json.dumps({str(number): region for number, region in said.items()}))


async def check_regions(home: Database, said: Mapping[int, str]) -> None:
    """Raises Unavailable when the settings name another region for a shard than is registered."""
    if not said:
        return
    known = await _registered(home, REGISTERED)
    for number, region in said.items():
        if known.get(number) != region:
            raise Unavailable(
                f'the settings put a shard in the region "{region}", the cluster has it in "{known.get(number, "")}": '
                "migrate with these settings, or correct them",
                shard=number,
            )


async def keep_in_region(connection: Reader, placed: Iterable[tuple[int, str]]) -> None:
    """Judge where accounts are about to live: pairs of a shard and the region that an account is pinned to, or "".

    In the transaction that places them. Raises NotPermitted.
    """
    pinned = [(number, region) for number, region in placed if region]
    if not pinned:
        return
    known = await _registered(connection, HELD)
    for number, region in pinned:
        if known.get(number, "") != region:
            there = f'in "{known[number]}"' if number in known else "in no region"
            raise NotPermitted(
                f'the account is pinned to the region "{region}", and that shard is {there}', region=region
            )


async def _registered(reader: Reader, statement: str) -> dict[int, str]:
    value = await reader.fetchval(statement)
    return {int(number): region for number, region in json.loads(value or "{}").items()}
