"""Which databases are shards of the cluster: registered once, with a number for ever, and known by it.

The home's table `shard` has the numbers; every shard's `cluster_setting` says which cluster and which shard it is, so
that a DSN that leads to the wrong database is found out before anything is written there.
"""

import json
import uuid
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final

import asyncpg

from posthorn_model.errors import Unavailable
from posthorn_storage.database import Database, Pools
from posthorn_storage.database.connect import connect_alone
from posthorn_storage.settings import PoolSettings, ShardSettings, StorageSettings
from posthorn_storage.shards.regions import register_regions, said_by
from posthorn_storage.version import check_version

ID_BITS: Final = 48
"""Ids of shard n lie from n * 2**48: they keep their meaning when their account moves, and none is given twice."""
MAX_NUMBER: Final = 2**15 - 1

CLUSTER = """
INSERT INTO cluster_setting (name, value) VALUES ('cluster', to_jsonb($1::text))
ON CONFLICT (name) DO UPDATE SET value = cluster_setting.value RETURNING value
"""

REGISTERED = "SELECT number, name FROM shard ORDER BY number"

# The lock keeps two nodes that migrate at once from giving one number twice.
LOCK = "LOCK TABLE shard IN SHARE ROW EXCLUSIVE MODE"

REGISTER = """
INSERT INTO shard (number, name) SELECT 1 + coalesce(max(number), 0), $1 FROM shard
ON CONFLICT (name) DO NOTHING
"""

NUMBER = "SELECT number FROM shard WHERE name = $1"

IDENTITY = "SELECT value FROM cluster_setting WHERE name = 'shard'"

IDENTIFY = "INSERT INTO cluster_setting (name, value) VALUES ('shard', $1::jsonb) ON CONFLICT (name) DO NOTHING"

IN_USE = "SELECT EXISTS (SELECT FROM account_counter) OR EXISTS (SELECT FROM account)"

SEQUENCES = """
SELECT quote_ident(schemaname) || '.' || quote_ident(sequencename) AS name FROM pg_sequences
WHERE schemaname = current_schema() AND start_value <> $1
"""


async def open_shards(
    home: Database, shards: Sequence[ShardSettings], connect: Callable[[str, PoolSettings], Awaitable[Pools]]
) -> dict[int, tuple[str, Pools]]:
    """Open the databases of shards with `connect`: name and connections by number.

    Raises Unavailable for one that is not registered, is another than its name says, or has an older schema.
    """
    if not shards:
        return {}
    numbers = {row["name"]: row["number"] for row in await home.fetch(REGISTERED)}
    cluster = json.loads(await home.fetchval(CLUSTER, str(uuid.uuid4())))
    opened: dict[int, tuple[str, Pools]] = {}
    try:
        for settings in shards:
            number = numbers.get(settings.name)
            if number is None:
                raise Unavailable("a shard of the settings is not registered yet: migrate first", shard=settings.name)
            pools = await connect(settings.dsn, settings.pools)
            opened[number] = (settings.name, pools)
            await check_version(pools.interactive)
            found = await pools.interactive.fetchval(IDENTITY)
            if found is None or json.loads(found) != {"cluster": cluster, "number": number}:
                raise Unavailable("the database of a shard is another one than its name says", shard=settings.name)
    except BaseException:
        for _, pools in opened.values():
            await pools.close()
        raise
    return opened


async def register(settings: StorageSettings) -> None:
    """Make the databases of `settings.shards`, migrated already, shards of the cluster, with their regions. Idempotent.

    Raises NotPermitted (as register_regions does) and Unavailable, also for a database that holds accounts or belongs
    to another cluster or shard.
    """
    if not settings.shards and not settings.pools.regions.primary:
        return
    home = await _connected(settings.dsn)
    try:
        cluster = json.loads(await home.fetchval(CLUSTER, str(uuid.uuid4())))
        for shard in settings.shards:
            async with home.transaction():
                await home.execute(LOCK)
                await home.execute(REGISTER, shard.name)
                number = await home.fetchval(NUMBER, shard.name)
                if number > MAX_NUMBER:
                    raise Unavailable("there are too many shards", shard=shard.name)
                await _identify(shard, {"cluster": cluster, "number": number})
        numbers = {row["name"]: row["number"] for row in await home.fetch(REGISTERED)}
        async with home.transaction():
            await register_regions(home, said_by(settings, numbers))
    finally:
        await home.close()


async def _identify(shard: ShardSettings, identity: dict[str, Any]) -> None:
    connection = await _connected(shard.dsn)
    try:
        async with connection.transaction():
            found = await connection.fetchval(IDENTITY)
            if found is not None and json.loads(found) != identity:
                raise Unavailable("the database belongs to another shard or cluster", shard=shard.name)
            if found is None and await connection.fetchval(IN_USE):
                raise Unavailable("the database holds accounts already, so it cannot become a shard", shard=shard.name)
            await connection.execute(IDENTIFY, json.dumps(identity))
            # Those of later migrations too, each once: nothing has used them before its migration is done.
            start = (identity["number"] << ID_BITS) + 1
            for row in await connection.fetch(SEQUENCES, start):
                await connection.execute(f"ALTER SEQUENCE {row['name']} START WITH {start} RESTART WITH {start}")
    finally:
        await connection.close()


async def _connected(dsn: str) -> Any:
    try:
        return await connect_alone(dsn, 10)
    except (OSError, asyncpg.PostgresError, TimeoutError) as error:
        raise Unavailable("the database does not answer", cause=repr(error)) from error
