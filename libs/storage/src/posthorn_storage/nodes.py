"""The node table: who holds which node id, and which processes live (design, section 5).

A node id is a lease "node/<id>" whose owner is the node's token; a process is a row with its last heartbeat. Life is
judged by the database's clock only. This module sends no events and decides nothing but node ids.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from posthorn_model.cluster import DRAIN, Process, Standing
from posthorn_model.errors import DuplicateNode
from posthorn_model.ids import NodeId
from posthorn_model.ports import Peer
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.leases import ACQUIRE
from posthorn_storage.version import known_revisions

MAX_NODE = 1_000_000
_AUTO_LOCK = 0x706F7374

OWN_NODE = """
SELECT substr(key, 6)::int FROM lease
WHERE starts_with(key, 'node/') AND owner = $1 AND until > now() ORDER BY substr(key, 6)::int LIMIT 1
"""

LOWEST_FREE = """
SELECT id FROM generate_series(1, 1 + (SELECT count(*) FROM lease WHERE starts_with(key, 'node/'))::int) AS id
WHERE NOT EXISTS (SELECT 1 FROM lease WHERE key = 'node/' || id AND until > now())
ORDER BY id LIMIT 1
"""

HOLDER = """
SELECT lease.owner, max(process.hostname) AS hostname, max(process.seen_at) AS seen_at
FROM lease LEFT JOIN process ON process.node_id = $2 AND process.state <> 'left'
WHERE lease.key = $1 GROUP BY lease.owner
"""

DIRECTORY_CHANGES = "directory_changes"
CERTIFICATE_CHANGES = "certificate_changes"
BAN_CHANGES = "ban_changes"
# Run after the change, or with it in one transaction: who sees the new number sees the change too. $1 is one of these.
NOTE_CHANGE = """
INSERT INTO cluster_setting (name, value) VALUES ($1, '1')
ON CONFLICT (name) DO UPDATE SET value = to_jsonb(cluster_setting.value::bigint + 1) RETURNING value::bigint
"""

BEAT = f"""
WITH node AS (
    UPDATE lease SET until = now() + make_interval(secs => $3) WHERE key = $1 AND owner = $2 RETURNING key
), seen AS (
    INSERT INTO process AS old (boot, node_id, service, hostname, region, state, address, load, schema)
    SELECT $4, $5, $6, $7, $8, $9, $10::jsonb, $11, $12 FROM node
    ON CONFLICT (boot) DO UPDATE SET
        state = EXCLUDED.state, load = EXCLUDED.load, seen_at = now(), address = old.address || EXCLUDED.address
    RETURNING wish
)
SELECT wish, coalesce((SELECT value::bigint FROM cluster_setting WHERE name = '{DIRECTORY_CHANGES}'), 0) AS directory,
    coalesce((SELECT value::bigint FROM cluster_setting WHERE name = '{CERTIFICATE_CHANGES}'), 0) AS certificates,
    coalesce((SELECT value::bigint FROM cluster_setting WHERE name = '{BAN_CHANGES}'), 0) AS bans
FROM seen
"""  # noqa: S608  constants only

LEAVE = """
WITH gone AS (
    UPDATE process SET state = 'left', seen_at = now(), load = 0 WHERE boot = $1 AND state <> 'left' RETURNING node_id
)
UPDATE lease SET until = now() FROM gone
WHERE lease.key = 'node/' || gone.node_id AND lease.until > now() AND NOT EXISTS (
    SELECT 1 FROM process WHERE node_id = gone.node_id AND state <> 'left' AND boot <> $1
    AND seen_at > now() - make_interval(secs => $2))
"""

# Of a process that is dead; the node's id ends with the last one that had the same token. The system has closed its
# connections, so others may have its parts of limits.
BURY = """
WITH gone AS (
    UPDATE process SET state = 'left', load = 0 WHERE boot = $1 AND state <> 'left' RETURNING node_id
), shares AS (
    DELETE FROM queue_share WHERE holder = $1
), held AS MATERIALIZED (
    SELECT l.key FROM lease l WHERE l.until > now() AND (l.owner = $1 OR (
        l.owner = $2 AND l.key = (SELECT 'node/' || node_id FROM gone) AND NOT EXISTS (
            SELECT 1 FROM process JOIN gone USING (node_id)
            WHERE state <> 'left' AND boot <> $1 AND seen_at > now() - make_interval(secs => $3))))
    ORDER BY l.key FOR NO KEY UPDATE OF l
)
UPDATE lease SET until = now() FROM held WHERE lease.key = held.key
"""

PROCESSES = """
SELECT *, state <> 'left' AND seen_at > now() - make_interval(secs => $1) AS live
FROM process ORDER BY node_id, service, started_at, boot LIMIT 10000
"""

ANNOUNCE = "UPDATE process SET address = address || $2::jsonb WHERE boot = $1"

# A wish is for one life of a process: what is started again on that node is not meant.
WISH_DRAIN = """
UPDATE process SET wish = $3
WHERE state <> 'left' AND seen_at > now() - make_interval(secs => $4)
    AND (node_id = ANY ($1::int[]) OR address->>'host' = $2)
RETURNING *, true AS live
"""

FORGET = """
DELETE FROM process WHERE boot IN (
    SELECT boot FROM process WHERE seen_at < now() - make_interval(secs => $1) LIMIT $2)
"""


class NodeStore:
    """The port posthorn_model.ports.NodeStore over the tables `lease` and `process`."""

    def __init__(self, database: Database, *, failure_after: float) -> None:
        self._database = database
        self._failure_after = failure_after
        self._schema = known_revisions()[0]
        self._announced: dict[str, dict[str, Any]] = {}

    async def claim_node(self, node: NodeId | None, token: str, ttl: float) -> NodeId:
        """See the port."""

        async def claim(connection: Connection) -> NodeId:
            wanted = node
            if wanted is None:
                # One automatic choice at a time; a fixed id that comes between is found out by ACQUIRE.
                await connection.execute("SELECT pg_advisory_xact_lock($1)", _AUTO_LOCK)
                wanted = await connection.fetchval(OWN_NODE, token) or await connection.fetchval(LOWEST_FREE)
            if wanted is None or not 1 <= wanted <= MAX_NODE:
                raise DuplicateNode(f"a node id is a number from 1 to {MAX_NODE}", node=wanted)
            if await connection.fetchrow(ACQUIRE, [f"node/{wanted}"], token, float(ttl)) is None:
                raise await _duplicate(connection, NodeId(wanted))
            return NodeId(wanted)

        return await self._database.run(claim)

    async def beat(self, process: Process, token: str, ttl: float) -> Standing:
        """See the port."""
        row = await self._database.fetchrow(
            BEAT,
            f"node/{process.node}",
            token,
            float(ttl),
            process.boot,
            process.node,
            process.service,
            process.hostname,
            process.region,
            process.state,
            json.dumps({**process.address, **self._announced.get(process.boot, {})}),
            float(process.load),
            self._schema,
        )
        if row is None:
            return Standing(held=False)
        return Standing(True, row["wish"], row["directory"], row["certificates"], row["bans"])

    async def leave(self, boot: str) -> None:
        """See the port."""
        await self._database.execute(LEAVE, boot, self._failure_after)

    async def bury(self, boot: str, token: str) -> int:
        """End what a process holds that is known to be dead, as if it had left; returns how many leases there were.

        `token` is its node's. Should it live all the same, it finds its leases lost. Raises Unavailable.
        """
        return await self._database.execute(BURY, boot, token, self._failure_after)

    async def live(self, failure_after: float) -> list[Process]:
        """See the port."""
        return [found for found in await self._processes(failure_after) if found.live]

    async def all(self, failure_after: float | None = None) -> list[Process]:
        """Every process row there is, also of those that left or died."""
        return await self._processes(self._failure_after if failure_after is None else failure_after)

    async def announce(self, boot: str, address: Mapping[str, Any]) -> None:
        """Merge `address` (small, JSON-able) into the row of process `boot`, at once or with its first heartbeat."""
        self._announced.setdefault(boot, {}).update(address)
        await self._database.execute(ANNOUNCE, boot, json.dumps(dict(address)))

    async def drain(self, nodes: Sequence[NodeId] = (), host: str | None = None) -> list[Process]:
        """Wish that the live processes of these nodes, or all on the machine `host`, end; returns them.

        They hear of it with their next heartbeat.
        """
        rows = await self._database.fetch(WISH_DRAIN, list(nodes), host, DRAIN, self._failure_after)
        return sorted((_process(row) for row in rows), key=lambda found: (found.node, found.service, found.boot))

    async def forget_dead(self, older_than: float, limit: int = 1000) -> int:
        """Remove at most `limit` rows of processes not seen for `older_than` seconds; returns how many went."""
        return await self._database.execute(FORGET, float(older_than), limit)

    def peer_directory(self, boot: str, failure_after: float | None = None) -> "PeerDirectory":
        """The port posthorn_model.ports.PeerDirectory for the process `boot`."""
        return PeerDirectory(self, boot, self._failure_after if failure_after is None else failure_after)

    async def _processes(self, failure_after: float) -> list[Process]:
        return [_process(row) for row in await self._database.fetch(PROCESSES, float(failure_after))]


class PeerDirectory:
    """Who lives in the cluster, as one process sees and extends it."""

    def __init__(self, nodes: NodeStore, boot: str, failure_after: float) -> None:
        self._nodes = nodes
        self._boot = boot
        self._failure_after = failure_after

    async def live_peers(self) -> Sequence[Peer]:
        """See the port; this process itself is among them."""
        return [
            Peer(found.node, found.service, found.boot, found.region, found.address)
            for found in await self._nodes.live(self._failure_after)
        ]

    async def announce(self, address: Mapping[str, Any]) -> None:
        """See the port."""
        await self._nodes.announce(self._boot, address)


async def _duplicate(connection: Connection, node: NodeId) -> DuplicateNode:
    row = await connection.fetchrow(HOLDER, f"node/{node}", node)
    host = row["hostname"] if row and row["hostname"] else "an unknown host"
    return DuplicateNode(
        f"node id {node} is in use by another live node ({host}); choose another id, or stop that node",
        node=node,
        hostname=host,
    )


def _process(row: Row) -> Process:
    return Process(
        node=NodeId(row["node_id"]),
        service=row["service"],
        boot=row["boot"],
        hostname=row["hostname"],
        region=row["region"],
        state=row["state"],
        address=json.loads(row["address"]),
        load=row["load"],
        started_at=row["started_at"],
        seen_at=row["seen_at"],
        live=row["live"],
        wish=row["wish"],
    )
