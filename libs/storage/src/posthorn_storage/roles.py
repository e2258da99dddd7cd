"""Who holds which role, who shall hold it, and what the settings of each process say of roles.

A wish names the node that shall hold a role, or one share of it, while that node lives; the processes obey it, leases
decide as ever. It elects nobody and runs nothing.
"""

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeAlias

from posthorn_model.ids import Epoch, NodeId
from posthorn_storage.database import Connection, Database
from posthorn_storage.leases import Fence
from posthorn_storage.nodes import NodeStore

Lists: TypeAlias = Mapping[str, Sequence[Sequence[int]]]
"""Of each role the nodes that may hold it, share by share; no share: one, for every node."""
MAX_PROBLEMS: Final = 100
ROLE_SERVICE: Final = "maintenance"
"""The service whose processes hold roles."""

DECLARE = "UPDATE process SET roles = $2::jsonb WHERE boot = $1 AND roles IS DISTINCT FROM $2::jsonb"

DECLARED = "SELECT boot, roles FROM process WHERE roles IS NOT NULL LIMIT 10000"

TAKE = """
INSERT INTO role_tenure AS t (key, epoch, node_id) VALUES ($1, $2, $3)
ON CONFLICT (key) DO UPDATE SET epoch = EXCLUDED.epoch, node_id = EXCLUDED.node_id, since = now()
WHERE t.epoch < EXCLUDED.epoch
"""

TENURES = """
SELECT l.key, l.owner, l.epoch, l.until, l.until > now() AS live, t.node_id, t.since, w.node_id AS wished
FROM lease l LEFT JOIN role_tenure t ON t.key = l.key AND t.epoch = l.epoch LEFT JOIN role_wish w ON w.key = l.key
WHERE starts_with(l.key, 'role/') ORDER BY l.key LIMIT 10000
"""

WISHES = "SELECT key, node_id FROM role_wish LIMIT 10000"

WISH = """
INSERT INTO role_wish (key, node_id) VALUES ($1, $2)
ON CONFLICT (key) DO UPDATE SET node_id = EXCLUDED.node_id, at = now()
"""

FORGET = "DELETE FROM role_wish WHERE key = $1"


@dataclass(frozen=True, slots=True)
class Tenure:
    """A role, or one share of it, as its lease has it."""

    key: str
    node: NodeId | None
    """Who holds it, or held it last; None when that is not known."""
    boot: str
    epoch: Epoch
    live: bool
    since: datetime | None
    until: datetime
    wished: NodeId | None
    """Who shall hold it."""


@dataclass(frozen=True, slots=True)
class Declared:
    """What the settings of a live process say."""

    node: NodeId
    lists: Lists


class RoleStore:
    """See the module. All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database, nodes: NodeStore) -> None:
        self._database = database
        self._nodes = nodes

    async def declare(self, boot: str, lists: Lists) -> None:
        """Write what the settings of process `boot`, which is in the node table, say of roles."""
        plain = {role: [list(share) for share in shares] for role, shares in lists.items()}
        await self._database.execute(DECLARE, boot, json.dumps(plain))

    async def declared(self) -> list[Declared]:
        """What the live processes that may hold roles say, by node."""
        said = {row["boot"]: json.loads(row["roles"]) for row in await self._database.fetch(DECLARED)}
        found = [
            Declared(process.node, said[process.boot])
            for process in await self._nodes.all()
            if process.live and process.boot in said
        ]
        return sorted(found, key=lambda each: each.node)

    async def problems(self) -> list[str]:
        """What is wrong with the lists, in words for people; nothing stops for it."""
        known = {process.node for process in await self._nodes.all()}
        return problems(await self.declared(), known)

    async def take(self, fence: Fence, node: NodeId) -> None:
        """Note that `node` holds the lease of the fence from now on; nothing when it is another's by now."""

        async def work(connection: Connection) -> None:
            if await fence.hold(connection):
                await connection.execute(TAKE, fence.key, fence.epoch, node)

        await self._database.run(work)

    async def tenures(self) -> list[Tenure]:
        """Every role that was ever held, by key."""
        return [
            Tenure(
                row["key"],
                row["node_id"],
                row["owner"],
                Epoch(row["epoch"]),
                row["live"],
                row["since"],
                row["until"],
                row["wished"],
            )
            for row in await self._database.fetch(TENURES)
        ]

    async def wish(self, key: str, node: NodeId | None) -> None:
        """Let `node` hold the role of this lease as long as it lives; None: whoever is elected."""
        if node is None:
            await self._database.execute(FORGET, key)
        else:
            await self._database.execute(WISH, key, node)

    async def wishes(self) -> dict[str, NodeId]:
        """The wishes that count now: a node without a ready process that may hold roles is passed over."""
        rows = await self._database.fetch(WISHES)
        if not rows:
            return {}
        able = {
            process.node
            for process in await self._nodes.all()
            if process.live and process.service == ROLE_SERVICE and process.state != "draining"
        }
        return {row["key"]: NodeId(row["node_id"]) for row in rows if row["node_id"] in able}


def problems(declared: Sequence[Declared], known: Collection[int]) -> list[str]:
    """Lists that name nodes the cluster does not know, that differ between nodes, or that let nobody work."""
    found = []
    roles = sorted({role for each in declared for role in each.lists})
    for role in roles:
        said: dict[str, list[int]] = {}
        for each in declared:
            said.setdefault(json.dumps(_plain(each.lists.get(role, ()))), []).append(each.node)
        if len(said) > 1:
            lists = "; ".join(f"{text} on {numbered(nodes)}" for text, nodes in said.items())
            found.append(f"cluster.roles.{role} differs between nodes: {lists}")
        for text, nodes in said.items():
            shares = [share for share in json.loads(text) if share]
            if unknown := sorted({node for share in shares for node in share}.difference(known)):
                found.append(f"cluster.roles.{role} on {numbered(nodes)} names {numbered(unknown)}: not in the cluster")
            able = {each.node for each in declared}
            found.extend(
                f"cluster.roles.{role} on {numbered(nodes)}: "
                f"none of {numbered(share)} runs {ROLE_SERVICE}, nobody does it"
                for share in shares
                if not able.intersection(share)
            )
    return found[:MAX_PROBLEMS]


def _plain(shares: Any) -> list[list[int]]:
    return [sorted(share) for share in shares]


def numbered(numbers: Collection[int]) -> str:
    """Nodes in words for people: "node 1", "nodes 1, 2"; of many only the first."""
    unique = sorted(set(numbers))
    shown = ", ".join(map(str, unique[:20])) + (", ..." if len(unique) > 20 else "")
    return f"node {shown}" if len(unique) == 1 else f"nodes {shown}"
