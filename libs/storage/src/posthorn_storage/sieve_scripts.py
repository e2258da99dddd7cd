"""Sieve scripts: kept by name for each account, one of them active at most. It knows nothing of the language.

Which script is active is asked for at each delivery, so the answer is remembered for a few seconds; a process that
changes a script itself knows it at once.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from posthorn_model.errors import AlreadyExists, InvalidContent, InvalidName, NotFound, NotPermitted, TooLarge, TooMany
from posthorn_model.ids import AccountId
from posthorn_model.ports import Clock
from posthorn_storage.mail.journal import Journal
from posthorn_storage.recent import Recent
from posthorn_storage.shards import Shards

MAX_SCRIPTS: Final = 64
MAX_SIZE: Final = 131_072
"""Octets of one script."""
MAX_NAME: Final = 128
"""Characters of a name; RFC 5804 1.6 asks for that many."""
REMEMBERED: Final = 50_000
"""Accounts whose active script is remembered."""
SECONDS: Final = 3.0
"""How old the answer may be."""

ALL = """
SELECT name, active, octet_length(content) AS size FROM sieve_script WHERE account_id = $1 ORDER BY name COLLATE "C"
"""
SOME = "SELECT name, content FROM sieve_script WHERE account_id = $1 AND name = ANY ($2::text[])"
ACTIVE = "SELECT account_id, name, content FROM sieve_script WHERE account_id = ANY ($1::bigint[]) AND active"
COUNT_OTHERS = "SELECT count(*) FROM sieve_script WHERE account_id = $1 AND name <> $2"
PUT = """
INSERT INTO sieve_script (account_id, name, content) VALUES ($1, $2, $3)
ON CONFLICT (account_id, name) DO UPDATE SET content = excluded.content, changed_at = now()
"""
DEACTIVATE = "UPDATE sieve_script SET active = false WHERE account_id = $1 AND active AND name <> $2"
ACTIVATE = "UPDATE sieve_script SET active = true WHERE account_id = $1 AND name = $2 RETURNING name"
IS_ACTIVE = "SELECT active FROM sieve_script WHERE account_id = $1 AND name = $2"
DELETE = "DELETE FROM sieve_script WHERE account_id = $1 AND name = $2"
RENAME = "UPDATE sieve_script SET name = $3 WHERE account_id = $1 AND name = $2"


@dataclass(frozen=True, slots=True)
class ScriptEntry:
    """A script as a listing shows it; `size` in octets."""

    name: str
    active: bool
    size: int


@dataclass(frozen=True, slots=True)
class ActiveScript:
    """The script that an account's mail goes through."""

    name: str
    content: str


class SieveScripts:
    """The scripts of all accounts. All methods raise Unavailable; those that change something AccountNotFound."""

    def __init__(self, shards: Shards, clock: Clock) -> None:
        self._shards = shards
        self._known: Recent[AccountId, ActiveScript | None] = Recent(clock.monotonic, SECONDS, REMEMBERED)

    async def all(self, account: AccountId) -> list[ScriptEntry]:
        """An account's scripts, by name."""
        rows = await (await self._shards.reading(account)).fetch(ALL, account)
        return [ScriptEntry(row["name"], row["active"], row["size"]) for row in rows]

    async def content(self, account: AccountId, name: str) -> str:
        """Raises NotFound."""
        found = await self.contents(account, [name])
        if name not in found:
            raise NotFound("there is no script of that name", account=account)
        return found[name]

    async def contents(self, account: AccountId, names: Collection[str]) -> Mapping[str, str]:
        """Those of these scripts that there are, by name."""
        rows = await (await self._shards.reading(account)).fetch(SOME, account, list(names))
        return {row["name"]: row["content"] for row in rows}

    async def active(self, accounts: Iterable[AccountId]) -> Mapping[AccountId, ActiveScript]:
        """The active scripts of those accounts that have one; up to 3 s old."""
        wanted = set(accounts)
        fresh, mark = self._known.fresh(wanted), self._known.mark
        missing = sorted(wanted - fresh.keys())
        if missing:
            found: dict[AccountId, ActiveScript] = {}
            for shard, own in (await self._shards.group(missing)).items():
                for row in await shard.database.fetch(ACTIVE, own):
                    found[row["account_id"]] = ActiveScript(row["name"], row["content"])
            for account in missing:
                fresh[account] = found.get(account)
                self._known.remember(account, found.get(account), mark)
        return {account: script for account, script in fresh.items() if script is not None}

    async def check_room(self, account: AccountId, name: str, size: int) -> None:
        """Whether a script of this name and size could be put. Raises InvalidName, TooLarge, TooMany."""
        _check(name, size)
        if await (await self._shards.reading(account)).fetchval(COUNT_OTHERS, account, name) >= MAX_SCRIPTS:
            raise TooMany(f"an account has at most {MAX_SCRIPTS} scripts", account=account)

    async def put(self, account: AccountId, name: str, content: str) -> None:
        """Store a script, over the one of that name, which stays active if it was. Raises as `check_room` does.

        Raises InvalidContent for what PostgreSQL cannot keep as text.
        """
        _check(name, len(content.encode("utf-8", "surrogatepass")))
        if "\0" in content or any(0xD800 <= ord(letter) < 0xE000 for letter in content):
            raise InvalidContent("a script is text without NUL", account=account)

        async def work(journal: Journal) -> None:
            if await journal.connection.fetchval(COUNT_OTHERS, account, name) >= MAX_SCRIPTS:
                raise TooMany(f"an account has at most {MAX_SCRIPTS} scripts", account=account)
            await journal.connection.execute(PUT, account, name, content)

        await self._change(account, work)

    async def activate(self, account: AccountId, name: str | None) -> None:
        """Make this script the active one, and no other; None: none is. Raises NotFound."""

        async def work(journal: Journal) -> None:
            await journal.connection.execute(DEACTIVATE, account, name or "")
            if name is not None and await journal.connection.fetchval(ACTIVATE, account, name) is None:
                raise NotFound("there is no script of that name", account=account)

        await self._change(account, work)

    async def delete(self, account: AccountId, name: str) -> None:
        """Raises NotFound, NotPermitted (the script is active, RFC 5804 2.10)."""

        async def work(journal: Journal) -> None:
            active = await journal.connection.fetchval(IS_ACTIVE, account, name)
            if active is None:
                raise NotFound("there is no script of that name", account=account)
            if active:
                raise NotPermitted("the script is active: activate another one or none before", account=account)
            await journal.connection.execute(DELETE, account, name)

        await self._change(account, work)

    async def rename(self, account: AccountId, name: str, new: str) -> None:
        """A renamed script stays active. Raises NotFound, AlreadyExists, InvalidName."""
        _check(new, 0)

        async def work(journal: Journal) -> None:
            if await journal.connection.fetchval(IS_ACTIVE, account, name) is None:
                raise NotFound("there is no script of that name", account=account)
            if await journal.connection.fetchval(IS_ACTIVE, account, new) is not None:
                raise AlreadyExists("there is a script of that name", account=account)
            await journal.connection.execute(RENAME, account, name, new)

        await self._change(account, work)

    def forget(self) -> None:
        """Drop what is remembered."""
        self._known.forget()

    async def _change(self, account: AccountId, work: Callable[[Journal], Awaitable[None]]) -> None:
        try:
            await self._shards.change(account, work)
        finally:
            self._known.forget([account])


def _check(name: str, size: int) -> None:
    """Raises InvalidName (RFC 5804 1.6), TooLarge."""
    if not name or len(name) > MAX_NAME or not name.isprintable() or "/" in name:
        raise InvalidName("a script's name is 1 to 128 characters without controls and slashes", name=name[:100])
    if size > MAX_SIZE:
        raise TooLarge(f"a script has at most {MAX_SIZE} octets")
