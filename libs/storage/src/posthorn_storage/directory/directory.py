"""Domains, accounts, aliases and log-ins: who exists, who a recipient is, and who somebody is.

Addresses are compared in their stored form (posthorn_storage.directory.addresses). Answers that may be a little old
(local domains for 30 s, recipients for 3 s, verified log-ins for 60 s, unless the password changed) are dropped by
`forget`. Each change of domains, accounts, aliases, distributions and passwords is counted in the database, where every
process sees it. It holds no mail.
"""

import contextlib
from collections.abc import Collection, Sequence

import asyncpg

from posthorn_model.errors import (
    AccountNotFound,
    AlreadyExists,
    InvalidAddress,
    InvalidName,
    NotFound,
    PosthornError,
)
from posthorn_model.ids import AccountId, DomainId
from posthorn_model.ports import Clock
from posthorn_storage.database import Connection
from posthorn_storage.directory import sql
from posthorn_storage.directory.addresses import address_key, alias_key, domain_key
from posthorn_storage.directory.app_passwords import AppPasswords
from posthorn_storage.directory.identities import Identities, Identity
from posthorn_storage.directory.login_throttle import LoginThrottle
from posthorn_storage.directory.logins import Claims, Logins, TokenJudge
from posthorn_storage.directory.passwords import Passwords
from posthorn_storage.directory.recipients import Recipients
from posthorn_storage.directory.records import AccountRecord, record_of
from posthorn_storage.mail.provision import create_in
from posthorn_storage.nodes import DIRECTORY_CHANGES, NOTE_CHANGE
from posthorn_storage.shards import PlacementRules, Shard, Shards
from posthorn_storage.shards.regions import keep_in_region
from posthorn_storage.shards.removals import Removals

MAX_DISPLAY_NAME = 200
END_PUSHES = "DELETE FROM push_subscription WHERE account_id = $1"  # RFC 8620 7.2: they end with their credentials
_DOMAIN_SECONDS = 30.0


class Directory:
    """See the module. All methods raise Unavailable and Overloaded besides what they say."""

    def __init__(
        self,
        shards: Shards,
        rules: PlacementRules,
        passwords: Passwords,
        throttle: LoginThrottle,
        removal: Removals,
        recipients: Recipients,
        clock: Clock,
    ) -> None:
        self._database = shards.home.database
        self._shards = shards
        self._rules = rules
        self._passwords = passwords
        self._removal = removal
        self._recipients = recipients
        self._clock = clock
        self._identities = Identities(shards)
        self.app_passwords = AppPasswords(self._database)
        self._logins = Logins(self._database, passwords, throttle, clock)
        self._local: frozenset[str] = frozenset()
        self._local_until = float("-inf")

    def forget(self) -> None:
        """Drop all caches."""
        self._recipients.forget()
        self._logins.forget()
        self._shards.placements.forget()
        self._local_until = float("-inf")

    def look_again(self) -> None:
        """The directory changed: drop what no question to the database would show to be old.

        A remembered log-in is checked against the present password, and where an account lives has a notice of its own.
        """
        self._recipients.forget()
        self._local_until = float("-inf")

    # Domains

    async def add_domain(self, name: str, *, idempotent: bool = False) -> DomainId:
        """Add a domain whose mail is for this cluster. Raises AlreadyExists (unless `idempotent`), InvalidName."""
        key = domain_key(name)
        added = await self._database.execute(sql.ADD_DOMAIN, key)
        if added:
            await self.note_change()
        self._local_until = float("-inf")
        if not added and not idempotent:
            raise AlreadyExists("that domain exists already", domain=key)
        return DomainId(await self._database.fetchval(sql.DOMAIN, key))

    async def domains(self) -> list[str]:
        """All domains of the cluster, in order."""
        return [row["name"] for row in await self._database.fetch(sql.DOMAINS)]

    async def is_local_domain(self, domain: str) -> bool:
        """Whether mail for `domain` is delivered here; the answer may be up to 30 s old."""
        if self._clock.monotonic() >= self._local_until:
            self._local = frozenset(await self.domains())
            self._local_until = self._clock.monotonic() + _DOMAIN_SECONDS
        name = domain.rstrip(".").lower()
        if name in self._local or name.isascii():
            return name in self._local
        try:
            return domain_key(name) in self._local
        except InvalidName:
            return False

    # Accounts

    async def add_account(
        self,
        address: str,
        password: str | None,
        display_name: str = "",
        quota: int | None = None,
        *,
        region: str | None = None,
    ) -> AccountRecord:
        """Add an account with default mailboxes, identity, calendar and address book; no password: it cannot log in.

        It is pinned to `region` for good; None: to the one that the settings have for its address, if any.

        Raises AlreadyExists, NotFound (the domain is not local), InvalidAddress, NotPermitted (no shard stands there).
        """
        name = display_name[:MAX_DISPLAY_NAME]
        return (await self._add([address_key(address)], [password], name, quota, region))[0]

    async def add_accounts(
        self, accounts: Sequence[tuple[str, str]], *, region: str | None = None
    ) -> list[AccountRecord]:
        """Add many (address, password), all or none, in order. Raises as add_account does."""
        addresses = [address_key(address) for address, _ in accounts]
        if len(set(addresses)) != len(addresses):
            raise AlreadyExists("an address is named twice")
        if not addresses:
            return []
        return await self._add(addresses, [password for _, password in accounts], "", None, region)

    async def set_password(self, address: str, password: str) -> None:
        """Replace the password; what was subscribed to with the former one ends. Raises AccountNotFound."""
        secrets = await self._passwords.protect(password)
        self._logins.forget()
        if not await self._database.execute(sql.SET_CREDENTIAL, address_key(address), *secrets):
            raise AccountNotFound(address=address)
        self._logins.forget()
        await self.note_change()
        account = (await self.find_account(address)).id
        await (await self._shards.of(account)).database.execute(END_PUSHES, account)

    async def delete_account(self, address: str) -> None:
        """Remove an account: nobody finds it from now on; its mail goes in bounded steps. Raises AccountNotFound."""
        record = await self.find_account(address)
        self._logins.forget()
        # Whoever has the address next is not in what its present owner was in, nor is their mail passed on.
        await self._database.execute(sql.LEAVE_DISTRIBUTIONS, record.address)
        await self._removal.remove(record.id)
        self._shards.placements.forget([record.id])
        await self.note_change()

    async def reset_account(self, address: str) -> None:
        """Empty an account in one transaction: default mailboxes again, no messages. Raises AccountNotFound."""
        record = await self.find_account(address)
        await self._removal.reset(record.id)

    async def add_alias(self, alias: str, address: str) -> None:
        """Let `alias` (or all of "@domain") be delivered to an account too. An alias may have several accounts.

        Raises AlreadyExists (it is an account's own address), AccountNotFound, NotFound (domain), InvalidAddress.
        """
        key = alias_key(alias)
        domain = key.rpartition("@")[2]
        if domain not in await self.domains():
            raise NotFound("that domain is not one of this cluster", domain=domain)
        account = await self.find_account(address)
        if not await self._database.execute(sql.ADD_ALIAS, key, account.id):
            raise AlreadyExists("that address is an account's own", alias=key)
        await self.note_change()

    async def remove_alias(self, alias: str, address: str | None = None) -> int:
        """Remove an alias, of one account or of all; returns how many accounts had it. Raises NotFound."""
        key = alias_key(alias)
        account = None if address is None else (await self.find_account(address)).id
        removed = await self._database.execute(sql.REMOVE_ALIAS, key, account)
        if not removed:
            raise NotFound("there is no such alias", alias=key)
        await self.note_change()
        return removed

    async def list_aliases(self, after: tuple[str, str] = ("", ""), limit: int = 1000) -> list[tuple[str, str]]:
        """At most `limit` pairs of alias and account's address behind `after`, in order."""
        rows = await self._database.fetch(sql.ALIASES, *after, min(limit, 10_000))
        return [(row["alias"], row["address"]) for row in rows]

    async def find_account(self, address: str) -> AccountRecord:
        """The account of this very address (no alias). Raises AccountNotFound."""
        try:
            key = address_key(address)
        except InvalidAddress as error:
            raise AccountNotFound(address=address[:100]) from error
        rows = await self._database.fetch(sql.BY_ADDRESS, key)
        if not rows:
            raise AccountNotFound(address=key)
        return record_of(rows[0])

    async def account(self, account: AccountId) -> AccountRecord:
        """The account of this id. Raises AccountNotFound."""
        rows = await self._database.fetch(sql.BY_ID, [account])
        if not rows:
            raise AccountNotFound(account=account)
        return record_of(rows[0])

    async def accounts(self, ids: Collection[AccountId]) -> list[AccountRecord]:
        """Those of these accounts that there are, in one query."""
        return [record_of(row) for row in await self._database.fetch(sql.BY_ID, list(ids))] if ids else []

    async def list_accounts(self, after: str = "", limit: int = 1000) -> list[AccountRecord]:
        """At most `limit` accounts whose address is greater than `after`, by address."""
        return [record_of(row) for row in await self._database.fetch(sql.LIST, after, min(limit, 10_000))]

    async def accounts_by_shard(self) -> dict[int, int]:
        """How many accounts live on each shard, by its number."""
        return {row["shard"]: row["count"] for row in await self._database.fetch(sql.COUNT_BY_SHARD)}

    # Recipients and log-ins

    async def authenticate(self, login: str, password: str, remote: str = "", service: str = "") -> AccountRecord:
        """Who this is. `login` is the account's address, `remote` the client's; "" is nobody's.

        `service` is one of those that app passwords may be for; without one only those for all are good.

        Raises AuthenticationFailed after the same time whether the account exists or not, TooManyFailures (which does
        not say whether the password is right), Overloaded.
        """
        return await self._logins.by_password(login, password, remote, service)

    def claims(self, remote: str, service: str = "") -> Claims:
        """Who judges what one client at `remote` claims in SASL to a service; for one login at a time."""
        return Claims(self._logins, remote, service)

    def take_tokens(self, judge: TokenJudge) -> None:
        """From now on bearer tokens are a way to log in."""
        self._logins.tokens = judge

    @property
    def takes_tokens(self) -> bool:
        """Whether they are."""
        return self._logins.tokens is not None

    async def may_send_as(self, account: AccountId, address: str) -> bool:
        """Whether the account may use `address` as sender: its own, an alias, with "+detail", under its catch-all."""
        keys = self._recipients.keys(address)
        return bool(keys) and bool(await self._database.fetchval(sql.MAY_SEND_AS, account, list(keys)))

    # Identities (RFC 8621 6)

    async def identities(self, account: AccountId) -> list[Identity]:
        """All identities of an account, the oldest first."""
        return await self._identities.all(account)

    async def put_identity(self, account: AccountId, identity: Identity) -> Identity:
        """Create (id 0) or replace one. Raises NotFound, TooMany, AccountNotFound, InvalidAddress."""
        return await self._identities.put(account, identity)

    async def delete_identity(self, account: AccountId, identity: int) -> None:
        """Raises NotFound."""
        await self._identities.delete(account, identity)

    async def _add(
        self,
        addresses: list[str],
        passwords: Sequence[str | None],
        display_name: str,
        quota: int | None,
        region: str | None,
    ) -> list[AccountRecord]:
        able = [
            (address, password) for address, password in zip(addresses, passwords, strict=True) if password is not None
        ]
        secrets = await self._passwords.protect_all([password for _, password in able])
        domains = [address.rpartition("@")[2] for address in addresses]
        regions = [self._rules.region_for(address) if region is None else region for address in addresses]
        names = [self._rules.shard_for(address, pin) for address, pin in zip(addresses, regions, strict=True)]
        shards = [self._shards.named(name) for name in names]
        accounts = [AccountId(row["id"]) for row in await self._database.fetch(sql.TAKE_IDS, len(addresses))]
        apart = await self._provide(addresses, accounts, shards, display_name, quota)

        async def work(connection: Connection) -> list[AccountRecord]:
            unknown = await connection.fetchval(sql.UNKNOWN_DOMAIN, domains)
            if unknown is not None:
                raise NotFound("that domain is not one of this cluster", domain=unknown)
            numbers = [shard.number for shard in shards]
            await keep_in_region(connection, zip(numbers, regions, strict=True))
            ids = await connection.fetch(
                sql.ADD_ACCOUNTS, addresses, domains, display_name, quota, accounts, numbers, regions
            )
            if len(ids) != len(addresses):
                raise AlreadyExists("that address exists already", count=len(addresses) - len(ids))
            hashes, verifiers = [each.hash for each in secrets], [each.verifier for each in secrets]
            await connection.execute(sql.ADD_CREDENTIALS, [address for address, _ in able], hashes, verifiers)
            here = [
                (account, address)
                for account, address, shard in zip(accounts, addresses, shards, strict=True)
                if shard.is_home
            ]
            await create_in(connection, here, display_name, quota)
            rows = {row["address"]: row for row in await connection.fetch(sql.BY_ID, accounts)}
            return [record_of(rows[address]) for address in addresses]

        try:
            added = await self._database.run(work)
        except asyncpg.UniqueViolationError as error:
            await self._removal.clear(apart)
            raise AlreadyExists("that address exists already") from error
        except PosthornError as error:
            if not error.temporary:
                await self._removal.clear(apart)
            raise
        await self.note_change()
        return added

    async def note_change(self) -> None:
        """Let every process know; if that fails, what they remember ends by itself, and the change stands."""
        self._recipients.forget()
        with contextlib.suppress(PosthornError):
            await self._database.execute(NOTE_CHANGE, DIRECTORY_CHANGES)

    async def _provide(
        self,
        addresses: Sequence[str],
        accounts: Sequence[AccountId],
        shards: Sequence[Shard],
        display_name: str,
        quota: int | None,
    ) -> dict[Shard, list[AccountId]]:
        """Give those that will live on other shards what they need there; the directory's row then makes them exist.

        What is made for an account that never comes to exist is found by the checker.
        """
        apart: dict[Shard, list[tuple[AccountId, str]]] = {}
        for account, address, shard in zip(accounts, addresses, shards, strict=True):
            if not shard.is_home:
                apart.setdefault(shard, []).append((account, address))
        for shard, owners in apart.items():

            async def work(connection: Connection, owners: Sequence[tuple[AccountId, str]] = owners) -> None:
                await create_in(connection, owners, display_name, quota)

            await shard.database.run(work)
        return {shard: [account for account, _ in owners] for shard, owners in apart.items()}
