"""The table `dkim_key`: what each key of a domain is at, private keys sealed. It asks no DNS and signs nothing.

A key is `waiting` until its record was seen in DNS for long enough, then `active`: it signs. Another one takes its
place, and it is `retired`: its record stays, for mail that is still on its way. `removed`: the private key is gone, the
record may go; the row stays, so that a selector never comes back with another key.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal, TypeAlias

from posthorn_model.errors import AlreadyExists, LeaseLost, NotFound, TooMany
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.database import Connection, Database, Row, affected
from posthorn_storage.directory.addresses import domain_key
from posthorn_storage.dkim.keys import Algorithm, PrivateKey, record_name, record_text, selector_key
from posthorn_storage.leases import Fence

State: TypeAlias = Literal["waiting", "active", "retired", "removed"]

MAX_OF_DOMAIN: Final = 1000
"""Rows of one domain, removed keys too."""
MAX_PROBLEM: Final = 1000

OF_DOMAINS = """
SELECT *, now() AS now FROM dkim_key WHERE domain = ANY($1::text[]) ORDER BY domain, created_at, selector
"""
ALL = "SELECT *, now() AS now FROM dkim_key ORDER BY domain, created_at, selector LIMIT 100000"
DOMAINS = """
SELECT DISTINCT domain FROM dkim_key WHERE state <> 'removed' OR published_at IS NOT NULL ORDER BY domain
"""
ACTIVE = """
SELECT selector, algorithm, sealed_key FROM dkim_key WHERE domain = $1 AND state = 'active' ORDER BY algorithm DESC
"""
LOCK_DOMAIN = "SELECT pg_advisory_xact_lock(hashtextextended('dkim ' || $1, 0))"
KNOWN = "SELECT selector, algorithm, state FROM dkim_key WHERE domain = $1"
TODAY = "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYYMMDD')"
ADD = """
INSERT INTO dkim_key (domain, selector, algorithm, state, public_key, sealed_key, active_at, published_at)
VALUES ($1, $2, $3, $4, $5, $6, CASE WHEN $4 = 'active' THEN now() END, CASE WHEN $4 = 'active' THEN now() END)
"""
SEEN = """
UPDATE dkim_key SET published_at = coalesce(published_at, now()), problem = NULL, failures = 0,
    due = now() + make_interval(secs => $3)
WHERE domain = $1 AND selector = $2
"""
RETIRE = """
UPDATE dkim_key SET state = 'retired', retired_at = now(), due = now(), problem = NULL, failures = 0
WHERE domain = $1 AND algorithm = $2 AND state = 'active'
"""
ACTIVATE = """
UPDATE dkim_key SET state = 'active', active_at = now(), published_at = coalesce(published_at, now()), due = now(),
    problem = NULL, failures = 0
WHERE domain = $1 AND selector = $2 AND state = 'waiting'
"""
WAITING = "SELECT algorithm FROM dkim_key WHERE domain = $1 AND selector = $2 AND state = 'waiting'"
REMOVE = """
UPDATE dkim_key SET state = 'removed', removed_at = now(), published_at = coalesce(published_at, now()),
    sealed_key = NULL, due = now(), problem = NULL, failures = 0
WHERE domain = $1 AND selector = $2 AND state <> 'removed'
"""
GONE = """
UPDATE dkim_key SET published_at = NULL, problem = NULL, failures = 0
WHERE domain = $1 AND selector = $2 AND state = 'removed'
"""
PUT_OFF = """
UPDATE dkim_key SET problem = $3::text, due = now() + make_interval(secs => $4),
    failures = CASE WHEN $3::text IS NULL THEN 0 ELSE least(failures + 1, 32000) END
WHERE domain = $1 AND selector = $2
"""
SEALED = "SELECT domain, selector, sealed_key FROM dkim_key WHERE sealed_key IS NOT NULL"
RESEAL = "UPDATE dkim_key SET sealed_key = $4 WHERE domain = $1 AND selector = $2 AND sealed_key = $3"


@dataclass(frozen=True, slots=True)
class NewDkimKey:
    """A key to store. Without a selector it gets the next one that is free, made of algorithm and day."""

    domain: str
    key: PrivateKey
    selector: str = ""
    active: bool = False
    """Sign with it at once, in place of the one before: its record is in DNS already."""


@dataclass(frozen=True, slots=True)
class DkimKey:
    """A key as it is stored, without the private part."""

    domain: str
    selector: str
    algorithm: Algorithm
    state: State
    public: str
    """The p= tag."""
    created_at: datetime
    published_at: datetime | None
    """Since when its record is known to be in DNS; None: it is not. That of a removed key may be there."""
    active_at: datetime | None
    retired_at: datetime | None
    removed_at: datetime | None
    due: datetime
    """Not looked at before."""
    problem: str | None
    failures: int
    """In a row."""
    now: datetime
    """When this was read, by the database's clock."""

    @property
    def record_name(self) -> str:
        """Where its TXT record is."""
        return record_name(self.domain, self.selector)

    @property
    def record_text(self) -> str:
        """What its TXT record says."""
        return record_text(self.algorithm, self.public)


@dataclass(frozen=True, slots=True)
class SigningKey:
    """What a message is signed with."""

    selector: str
    algorithm: Algorithm
    pem: bytes = field(repr=False)


class DkimStore:
    """All methods raise Unavailable, Overloaded; those given a fence raise LeaseLost when it does not hold any more."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self.keys = keys

    async def of(self, domains: Collection[str]) -> Sequence[DkimKey]:
        """Every key of these domains, removed ones too, by domain and age."""
        return [_key(row) for row in await self._database.fetch(OF_DOMAINS, list(domains))]

    async def all(self) -> Sequence[DkimKey]:
        """Every key, removed ones too, by domain and age."""
        return [_key(row) for row in await self._database.fetch(ALL)]

    async def domains(self) -> Sequence[str]:
        """Every domain that has keys, or records of removed ones."""
        return [row["domain"] for row in await self._database.fetch(DOMAINS)]

    async def signing(self, domain: str) -> Sequence[SigningKey]:
        """The active keys of a domain, at most one of each algorithm; none: nothing signs for it.

        Raises SecretMissing, WrongSecret.
        """
        return [
            SigningKey(row["selector"], row["algorithm"], self._open(domain, row))
            for row in await self._database.fetch(ACTIVE, domain)
        ]

    async def add(self, new: NewDkimKey, fence: Fence | None = None) -> DkimKey:
        """Store a key, its private part sealed.

        Raises SecretMissing, InvalidName, TooMany; AlreadyExists when the selector was used before, or a key of that
        algorithm waits already.
        """
        domain = domain_key(new.domain)
        wanted = selector_key(new.selector) if new.selector else ""
        state: State = "active" if new.active else "waiting"

        async def work(connection: Connection) -> str:
            await _held(fence, connection)
            await connection.execute(LOCK_DOMAIN, domain)
            known = await connection.fetch(KNOWN, domain)
            if len(known) >= MAX_OF_DOMAIN:
                raise TooMany(f"{domain} has had {MAX_OF_DOMAIN} keys", domain=domain)
            waits = [row["selector"] for row in known if (row["state"], row["algorithm"]) == (state, new.key.algorithm)]
            if waits and not new.active:
                raise AlreadyExists(f"the key {waits[0]} of that algorithm waits for its record already", domain=domain)
            selector = wanted or _next(new.key.algorithm, await connection.fetchval(TODAY), known)
            if any(row["selector"] == selector for row in known):
                raise AlreadyExists(f"the selector {selector} was used before", domain=domain)
            if new.active:
                await connection.execute(RETIRE, domain, new.key.algorithm)
            sealed = self.keys.seal(new.key.pem, _about(domain, selector))
            await connection.execute(ADD, domain, selector, new.key.algorithm, state, new.key.public, sealed)
            return selector

        selector = await self._database.run(work)
        return next(key for key in await self.of([domain]) if key.selector == selector)

    async def seen(self, fence: Fence, key: DkimKey, pause: float) -> None:
        """Its record is in DNS; look again in `pause` seconds."""
        await self._change(fence, SEEN, key, float(pause))

    async def activate(self, domain: str, selector: str, fence: Fence | None = None) -> None:
        """Sign with a key that waits, in place of the one before, whose record stays. Raises NotFound."""

        async def work(connection: Connection) -> None:
            await _held(fence, connection)
            await connection.execute(LOCK_DOMAIN, domain)
            algorithm = await connection.fetchval(WAITING, domain, selector)
            if algorithm is None:
                raise NotFound(f"{domain} has no key {selector} that waits", selector=selector)
            await connection.execute(RETIRE, domain, algorithm)
            await connection.execute(ACTIVATE, domain, selector)

        await self._database.run(work)

    async def remove(self, domain: str, selector: str, fence: Fence | None = None) -> None:
        """Forget the private key. Raises NotFound when there is no such key, or it was removed before."""

        async def work(connection: Connection) -> int:
            await _held(fence, connection)
            return affected(await connection.execute(REMOVE, domain, selector))

        if not await self._database.run(work):
            raise NotFound(f"{domain} has no key {selector}", selector=selector)

    async def gone(self, fence: Fence, key: DkimKey) -> None:
        """The record of a removed key is not in DNS any more."""
        await self._change(fence, GONE, key)

    async def put_off(self, fence: Fence, key: DkimKey, problem: str | None, pause: float) -> None:
        """Look again in `pause` seconds; `problem`: what is in the way."""
        text = None if problem is None else problem.replace("\0", "")[:MAX_PROBLEM]
        await self._change(fence, PUT_OFF, key, text, float(pause))

    async def reseal(self) -> int:
        """Seal under the current secret what is sealed under a former one; returns how many keys were. Repeatable.

        Raises WrongSecret when one is sealed under a secret that is not among those given.
        """
        count = 0
        for row in await self._database.fetch(SEALED):
            if not self.keys.is_current(row["sealed_key"]):
                plain = self._open(row["domain"], row)
                sealed = self.keys.seal(plain, _about(row["domain"], row["selector"]))
                count += await self._database.execute(RESEAL, row["domain"], row["selector"], row["sealed_key"], sealed)
        return count

    def _open(self, domain: str, row: Row) -> bytes:
        return self.keys.open(row["sealed_key"], _about(domain, row["selector"]))

    async def _change(self, fence: Fence, statement: str, key: DkimKey, *arguments: object) -> None:
        async def work(connection: Connection) -> None:
            await _held(fence, connection)
            await connection.execute(statement, key.domain, key.selector, *arguments)

        await self._database.run(work)


def _next(algorithm: Algorithm, day: str, known: Sequence[Row]) -> str:
    """The selector of a new key: such as rsa-20260131, or rsa-20260131-2 for the second one of a day."""
    taken = {row["selector"] for row in known}
    names = (f"{algorithm}-{day}", *(f"{algorithm}-{day}-{number}" for number in range(2, MAX_OF_DOMAIN + 2)))
    return next(name for name in names if name not in taken)


async def _held(fence: Fence | None, connection: Connection) -> None:
    if fence is not None and not await fence.hold(connection):
        raise LeaseLost(f"{fence.key} has another epoch by now", key=fence.key, epoch=fence.epoch)


def _about(domain: str, selector: str) -> str:
    return f"dkim {selector} {domain}"


def _key(row: Row) -> DkimKey:
    return DkimKey(
        domain=row["domain"],
        selector=row["selector"],
        algorithm=row["algorithm"],
        state=row["state"],
        public=row["public_key"],
        created_at=row["created_at"],
        published_at=row["published_at"],
        active_at=row["active_at"],
        retired_at=row["retired_at"],
        removed_at=row["removed_at"],
        due=row["due"],
        problem=row["problem"],
        failures=row["failures"],
        now=row["now"],
    )
