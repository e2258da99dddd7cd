"""The table `certificate`: chains as they are, keys sealed. It serves nothing, and orders nothing."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final, Literal

from posthorn_model.errors import InvalidName, LeaseLost, NotFound, TooMany
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.database import Connection, Database, Row, affected
from posthorn_storage.leases import Fence
from posthorn_storage.nodes import CERTIFICATE_CHANGES, NOTE_CHANGE

MAX_CERTIFICATES: Final = 10_000
MAX_NAME: Final = 255

VERSIONS = "SELECT name, version FROM certificate WHERE state = 'ready' ORDER BY name LIMIT 10000"
SOME = "SELECT * FROM certificate WHERE name = ANY($1::text[]) ORDER BY name"
ALL = "SELECT * FROM certificate ORDER BY name LIMIT 10000"
OTHERS = "SELECT count(*) FROM certificate WHERE name <> $1"

# Versions never come back, also not after a certificate was removed and stored again: they are times, and they rise.
_NOW = "(extract(epoch FROM clock_timestamp()) * 1000000)::bigint"
PUT = f"""
INSERT INTO certificate AS c
    (name, names, chain, sealed_key, issuer, not_before, not_after, source, provider, is_default, version)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, {_NOW})
ON CONFLICT (name) DO UPDATE SET
    names = EXCLUDED.names, chain = EXCLUDED.chain, sealed_key = EXCLUDED.sealed_key, issuer = EXCLUDED.issuer,
    not_before = EXCLUDED.not_before, not_after = EXCLUDED.not_after, source = EXCLUDED.source,
    provider = EXCLUDED.provider, is_default = EXCLUDED.is_default, state = 'ready', changed_at = now(),
    version = greatest(c.version + 1, EXCLUDED.version)
"""  # noqa: S608  constants only
ONE_DEFAULT = f"""
UPDATE certificate SET is_default = false, version = greatest(version + 1, {_NOW}) WHERE is_default AND name <> $1
"""  # noqa: S608  constants only
REMOVE = "DELETE FROM certificate WHERE name = $1"
REVOKE = "UPDATE certificate SET state = 'revoked', changed_at = now() WHERE name = $1 AND source = 'acme'"
REMOVE_REVOKED = """
DELETE FROM certificate USING (SELECT FROM lease WHERE key = $1 AND epoch = $2 FOR SHARE) AS held
WHERE name = $3 AND state = 'revoked'
"""
# A sealed key that changed in the meantime is of another certificate, and current already.
RESEAL = "UPDATE certificate SET sealed_key = $3 WHERE name = $1 AND sealed_key = $2"

Source = Literal["file", "acme"]


@dataclass(frozen=True, slots=True)
class NewCertificate:
    """What is to be stored; chain and key in PEM."""

    name: str
    names: Collection[str]
    chain: bytes
    key: bytes = field(repr=False)
    issuer: str
    not_before: datetime
    not_after: datetime
    source: Source = "file"
    provider: str = ""
    """Of the settings, whose account with the authority got it."""
    default: bool = False


@dataclass(frozen=True, slots=True)
class CertificateRecord:
    """What is stored. The key is sealed: see CertificateStore.key_of."""

    name: str
    names: frozenset[str]
    chain: bytes
    sealed_key: bytes = field(repr=False)
    issuer: str
    not_before: datetime
    not_after: datetime
    source: Source
    provider: str
    default: bool
    state: str
    """"ready", or "revoked": then nobody shows it."""
    version: int
    """Another one whenever anything of it has changed."""
    changed_at: datetime


class CertificateStore:
    """All methods raise Unavailable, Overloaded."""

    def __init__(self, database: Database, keys: KeyRing) -> None:
        self._database = database
        self.keys = keys

    async def versions(self) -> Mapping[str, int]:
        """Every certificate that may be shown, with its version: cheap enough to be asked for often."""
        return {row["name"]: row["version"] for row in await self._database.fetch(VERSIONS)}

    async def load(self, names: Collection[str]) -> Sequence[CertificateRecord]:
        """Those of these names that are there."""
        return [_record(row) for row in await self._database.fetch(SOME, list(names))]

    async def all(self) -> Sequence[CertificateRecord]:
        """Every one, by name."""
        return [_record(row) for row in await self._database.fetch(ALL)]

    def key_of(self, record: CertificateRecord) -> bytes:
        """The key in PEM. Raises SecretMissing, WrongSecret."""
        return self.keys.open(record.sealed_key, _about(record.name))

    async def put(self, new: NewCertificate, fence: Fence | None = None) -> None:
        """Store a certificate, in place of the one of that name.

        Raises SecretMissing, InvalidName, TooMany; LeaseLost when `fence` does not hold any more.
        """
        if not 0 < len(new.name) <= MAX_NAME or not new.name.isprintable():
            raise InvalidName("the name of a certificate has 1 to 255 letters that can be shown", name=new.name[:100])
        sealed = self.keys.seal(new.key, _about(new.name))

        async def work(connection: Connection) -> None:
            await _held(fence, connection)
            if await connection.fetchval(OTHERS, new.name) >= MAX_CERTIFICATES:
                raise TooMany(f"there are {MAX_CERTIFICATES} certificates already")
            if new.default:
                await connection.execute(ONE_DEFAULT, new.name)
            await connection.execute(
                PUT,
                new.name,
                sorted(new.names),
                new.chain.decode("ascii"),
                sealed,
                new.issuer,
                new.not_before,
                new.not_after,
                new.source,
                new.provider,
                new.default,
            )
            await connection.execute(NOTE_CHANGE, CERTIFICATE_CHANGES)

        await self._database.run(work)

    async def remove(self, name: str) -> None:
        """Let it go. Raises NotFound."""
        if not await self._change(REMOVE, name):
            raise NotFound(f"there is no certificate of the name {name}", name=name)

    async def revoke(self, name: str) -> None:
        """Have nobody show it, and the holder of `acme.renew` revoke and replace it. Raises NotFound."""
        if not await self._change(REVOKE, name):
            raise NotFound(f"no certificate of the name {name} is from an authority by ACME", name=name)

    async def remove_revoked(self, fence: Fence, name: str) -> None:
        """Let it go, now that the authority has revoked it; under a lease that is lost it stays."""
        await self._change(REMOVE_REVOKED, fence.key, fence.epoch, name)

    async def _change(self, statement: str, *arguments: object) -> int:
        """Run a statement that changes what may be shown; returns how many rows it changed."""

        async def work(connection: Connection) -> int:
            changed = affected(await connection.execute(statement, *arguments))
            if changed:
                await connection.execute(NOTE_CHANGE, CERTIFICATE_CHANGES)
            return changed

        return await self._database.run(work)

    async def reseal(self) -> int:
        """Seal under the current secret what is sealed under a former one; returns how many keys were. Repeatable.

        Raises WrongSecret when one is sealed under a secret that is not among those given.
        """
        count = 0
        for record in await self.all():
            if not self.keys.is_current(record.sealed_key):
                sealed = self.keys.seal(self.key_of(record), _about(record.name))
                count += await self._database.execute(RESEAL, record.name, record.sealed_key, sealed)
        return count


async def _held(fence: Fence | None, connection: Connection) -> None:
    if fence is not None and not await fence.hold(connection):
        raise LeaseLost(f"{fence.key} has another epoch by now", key=fence.key, epoch=fence.epoch)


def _about(name: str) -> str:
    return f"certificate {name}"


def _record(row: Row) -> CertificateRecord:
    return CertificateRecord(
        name=row["name"],
        names=frozenset(row["names"]),
        chain=row["chain"].encode("ascii"),
        sealed_key=row["sealed_key"],
        issuer=row["issuer"],
        not_before=row["not_before"],
        not_after=row["not_after"],
        source=row["source"],
        provider=row["provider"],
        default=row["is_default"],
        state=row["state"],
        version=row["version"],
        changed_at=row["changed_at"],
    )
