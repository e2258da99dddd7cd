"""Groups, forwards and mailing lists: their addresses and members. Who is behind them is found by `recipients`.

A group is an address of its own whose mail goes to its members. A forward stands on the address of an account or alias:
its mail goes to the members instead, and to the account too where that is a member. A list sends in its own name.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from posthorn_model.errors import AlreadyExists, InvalidAddress, NotFound, TooMany
from posthorn_storage.database import Connection, Database, Row
from posthorn_storage.directory.addresses import address_key

Kind = Literal["group", "forward", "list"]
Posting = Literal["anyone", "members", "nobody"]

MAX_MEMBERS = 10_000
"""Of one list; groups and forwards are read as a whole for each message, and have fewer."""
MAX_GROUP = 1000
MAX_NAME = 200

ADD = """
INSERT INTO distribution (address, kind, name, owner, posting)
SELECT $1, $2, $3, $4, $5
WHERE EXISTS (SELECT FROM domain WHERE name = split_part($1, '@', 2))
    AND ($2 = 'forward') = (EXISTS (SELECT FROM account WHERE address = $1)
                            OR EXISTS (SELECT FROM alias WHERE address = $1))
ON CONFLICT (address) DO UPDATE SET name = EXCLUDED.name, owner = EXCLUDED.owner, posting = EXCLUDED.posting
    WHERE distribution.kind = EXCLUDED.kind
RETURNING address
"""

ADD_MEMBERS = """
INSERT INTO distribution_member (address, member) SELECT $1, unnest($2::text[]) ON CONFLICT DO NOTHING
"""

COUNT = "SELECT count(*) FROM distribution_member WHERE address = $1"

REMOVE_MEMBERS = "DELETE FROM distribution_member WHERE address = $1 AND member = ANY ($2::text[])"

REMOVE = "DELETE FROM distribution WHERE address = $1 AND kind = $2"

SHOW = """
SELECT d.*, ARRAY(SELECT member FROM distribution_member m WHERE m.address = d.address ORDER BY member) AS members
FROM distribution d WHERE d.kind = $1 AND d.address > $2 ORDER BY d.address LIMIT $3
"""

ONE = """
SELECT d.*, ARRAY(SELECT member FROM distribution_member m WHERE m.address = d.address ORDER BY member) AS members
FROM distribution d WHERE d.address = $1
"""

IS_MEMBER = """
SELECT EXISTS (SELECT FROM distribution_member WHERE address = $1 AND member = ANY ($2::text[]))
    OR EXISTS (SELECT FROM distribution WHERE address = $1 AND owner = ANY ($2::text[]))
"""


@dataclass(frozen=True, slots=True)
class Distribution:
    """One of them with its members in order. `name`, `owner` and `posting` are a list's."""

    address: str
    kind: Kind
    members: tuple[str, ...]
    name: str = ""
    owner: str = ""
    posting: Posting = "anyone"


class Distributions:
    """See the module. Raises Unavailable and Overloaded. `changed` is told after each change."""

    def __init__(self, database: Database, changed: Callable[[], Awaitable[None]]) -> None:
        self._database = database
        self._changed = changed

    async def put(
        self,
        kind: Kind,
        address: str,
        members: Sequence[str],
        *,
        name: str = "",
        owner: str = "",
        posting: Posting = "anyone",
    ) -> Distribution:
        """Make it, or add members to it and change the rest. A list needs an owner.

        Raises NotFound (no such domain; for a forward: no such account or alias), AlreadyExists (the address is
        somebody's), InvalidAddress, TooMany.
        """
        key = address_key(address)
        wanted = [address_key(member) for member in members]
        owner = address_key(owner) if owner else ""
        if kind == "list" and not owner:
            raise InvalidAddress("a list needs an owner, who gets its bounces", address=key)

        async def work(connection: Connection) -> Row:
            if await connection.fetchval(ADD, key, kind, name[:MAX_NAME], owner, posting) is None:
                raise await self._why_not(connection, kind, key)
            await connection.execute(ADD_MEMBERS, key, wanted)
            if await connection.fetchval(COUNT, key) > (MAX_MEMBERS if kind == "list" else MAX_GROUP):
                raise TooMany("too many members", address=key)
            row = await connection.fetchrow(ONE, key)
            assert row is not None
            return row

        row = await self._database.run(work)
        await self._changed()
        return _distribution(row)

    async def remove_members(self, address: str, members: Sequence[str]) -> int:
        """Take members out; returns how many were in. Raises NotFound, when none was."""
        key = address_key(address)
        count = await self._database.execute(REMOVE_MEMBERS, key, [address_key(member) for member in members])
        if not count:
            raise NotFound("there is no such member", address=key)
        await self._changed()
        return count

    async def remove(self, kind: Kind, address: str) -> None:
        """Remove it with its members; accounts stay. Raises NotFound."""
        key = address_key(address)
        if not await self._database.execute(REMOVE, key, kind):
            raise NotFound(f"there is no such {kind}", address=key)
        await self._changed()

    async def all(self, kind: Kind, after: str = "", limit: int = 100) -> list[Distribution]:
        """At most `limit` of a kind whose address is greater than `after`, by address."""
        return [_distribution(row) for row in await self._database.fetch(SHOW, kind, after, min(limit, 1000))]

    async def one(self, address: str) -> Distribution:
        """That of an address in its stored form. Raises NotFound."""
        rows = await self._database.fetch(ONE, address)
        if not rows:
            raise NotFound("there is no such list", address=address)
        return _distribution(rows[0])

    async def is_member(self, address: str, keys: Sequence[str]) -> bool:
        """Whether somebody with one of these addresses is a member of a list, or its owner."""
        return bool(await self._database.fetchval(IS_MEMBER, address, list(keys)))

    async def _why_not(self, connection: Connection, kind: Kind, key: str) -> NotFound | AlreadyExists:
        domain = key.rpartition("@")[2]
        if not await connection.fetchval("SELECT EXISTS (SELECT FROM domain WHERE name = $1)", domain):
            return NotFound("that domain is not one of this cluster", domain=domain)
        if await connection.fetchval("SELECT EXISTS (SELECT FROM distribution WHERE address = $1)", key):
            return AlreadyExists(f"that address is something else than a {kind}", address=key)
        if kind == "forward":
            return NotFound("no account and no alias has that address", address=key)
        return AlreadyExists("that address is an account's or an alias", address=key)


def _distribution(row: Row) -> Distribution:
    return Distribution(row["address"], row["kind"], tuple(row["members"]), row["name"], row["owner"], row["posting"])
