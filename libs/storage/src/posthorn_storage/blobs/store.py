"""Blobs: content by the hash of itself, small in the database, large in the object store (flows.md A.4, E).

`prepare` makes content durable before anybody may refer to it; `attach` and `refer` (posthorn_storage.blobs.attach) do
that inside the referring transaction. No call to the object store happens inside a transaction (design law 8).
"""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final

from posthorn_model.errors import AccountMoving, Unavailable
from posthorn_model.ids import AccountId, BlobKey
from posthorn_model.mail import PreparedBlob
from posthorn_storage.blobs.attach import attach
from posthorn_storage.blobs.content import PLAIN, content_key, encode, encoding_for
from posthorn_storage.blobs.object_names import object_key
from posthorn_storage.blobs.reading import Reader, elsewhere
from posthorn_storage.blobs.stores import Stores
from posthorn_storage.codes import LIVE, REF_UPLOAD
from posthorn_storage.database import Connection, Database, Row

UPLOAD_SECONDS: Final = 24 * 3600.0
MAX_GENERATION: Final = 255
_TRIES: Final = 4

# The row comes first and says `pending`: an object whose writer dies is on the collector's list already. A row that is
# being removed is not touched, and then no row comes back.
CLAIM = """
INSERT INTO blob AS old (key, size, state, encoding, object, store, touched_at)
VALUES ($1, $2, 0, $3, nextval('blob_object'), $4, now())
ON CONFLICT (key) DO UPDATE SET touched_at = now() WHERE old.state <> 2
RETURNING state, encoding, object, store
"""

CONFIRM = "UPDATE blob SET state = 1, touched_at = now() WHERE key = $1 AND object = $2 AND state IN (0, 1)"

KEEP_UPLOAD = """
INSERT INTO blob_ref (blob_key, kind, account_id, ref_id, content_type, expires_at)
VALUES ($1, $2, $3, 0, $4, now() + make_interval(secs => $5))
ON CONFLICT (blob_key, kind, account_id, ref_id) DO UPDATE SET
    content_type = EXCLUDED.content_type, expires_at = greatest(blob_ref.expires_at, EXCLUDED.expires_at)
"""

# Whoever freezes the account (flows.md F) waits for this transaction, or it sees the freeze.
STATE = "SELECT state FROM account_counter WHERE account_id = $1 FOR SHARE"

OWNED = """
SELECT size FROM blob WHERE key = $2 AND state = 1 AND EXISTS (
    SELECT 1 FROM blob_ref
    WHERE blob_key = $2 AND account_id = $1 AND (expires_at IS NULL OR expires_at > now()))
"""


class Blobs:
    """Stores and reads blobs of one database for one process; new ones in `encoding`, a value of content.BY_NAME."""

    def __init__(
        self, database: Database, stores: Stores, *, inline_limit: int, encoding: int, cache_bytes: int
    ) -> None:
        self._database = database
        self.stores = stores
        self._inline_limit = inline_limit
        self._encoding = encoding
        self._reader = Reader(database, stores, cache_bytes)

    @property
    def served(self) -> Mapping[str, int]:
        """How many reads of this process were served from memory, the disk, the database, an object store."""
        return self._reader.served

    async def prepare(
        self,
        data: bytes | memoryview,
        *,
        account: AccountId | None = None,
        ttl: float | None = None,
        scratch: Path | None = None,
    ) -> PreparedBlob:
        """Make `data` safe to refer to: durable in the object store, or carried inline to the caller's transaction.

        With `account` it is also kept as an upload of that account, for `ttl` seconds (24 h). Without, it stays at
        least for the grace time. What is stored of large content is made in a file in `scratch`, where that is given.
        Raises Unavailable, Overloaded.
        """
        if account is not None:
            return await self._keep(data, account, "application/octet-stream", ttl or UPLOAD_SECONDS)
        size = len(data)
        key = await elsewhere(size, lambda: content_key(data))
        # What is far over the limit cannot become small enough: not worth the try before its row says how to encode.
        if size <= self._inline_limit * 20:
            stored, encoding = await elsewhere(size, lambda: self._smallest(data))
            if len(stored) <= self._inline_limit:
                return PreparedBlob(key, size, stored, encoding)
        prepared = await self._store(key, data, scratch=scratch)
        if prepared is None:
            raise Unavailable(step="prepare", cause="collected each time before it was stored")
        return prepared

    async def read(self, key: BlobKey) -> bytes:
        """The whole content. Raises BlobNotFound, Archived, Unavailable (also for damaged content)."""
        return await self._reader.read(key)

    async def warm(self, keys: Iterable[BlobKey]) -> None:
        """Bring those that lie in the database into memory, in one statement, for `read` and `read_range` soon.

        For as many as a caller holds in memory at once. Raises Unavailable (also for damaged content).
        """
        await self._reader.warm(keys)

    async def read_range(self, key: BlobKey, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length` (fewer at the end). Raises BlobNotFound, Archived, Unavailable."""
        return await self._reader.read_range(key, start, length)

    async def upload(
        self, account: AccountId, data: bytes | memoryview, content_type: str = "application/octet-stream"
    ) -> BlobKey:
        """Store content for an account to refer to within 24 h (RFC 8620 6.1), committed. Raises Unavailable."""
        return (await self._keep(data, account, content_type[:255], UPLOAD_SECONDS)).key

    async def may_read(self, account: AccountId, key: BlobKey) -> bool:
        """Whether anything of the account refers to the blob."""
        return await self.find(account, key) is not None

    async def find(self, account: AccountId, key: BlobKey) -> int | None:
        """The size of a blob that something of the account refers to."""
        size: int | None = await self._database.fetchval(OWNED, account, key)
        return size

    async def _keep(self, data: bytes | memoryview, account: AccountId, content_type: str, ttl: float) -> PreparedBlob:
        for last in (False, False, True):
            blob = await self.prepare(data)

            async def work(connection: Connection, blob: PreparedBlob = blob) -> None:
                if await connection.fetchval(STATE, account):
                    raise AccountMoving(account=account)
                await attach(connection, [blob])
                await connection.execute(KEEP_UPLOAD, blob.key, REF_UPLOAD, account, content_type, float(ttl))

            try:
                await self._database.run(work)
            except Unavailable as error:
                if last or error.fields.get("step") != "attach":
                    raise
                continue
            return blob
        raise AssertionError("the last round returns or raises")

    def _smallest(self, data: bytes | memoryview) -> tuple[bytes, int]:
        if self._encoding != PLAIN:
            stored = encode(data, self._encoding)
            if len(stored) < len(data):
                return bytes(stored), self._encoding
        return bytes(data), PLAIN

    async def provide(self, key: BlobKey, data: bytes | memoryview, *, scratch: Path | None = None) -> None:
        """Make `data` durable here too, under the very key it has on another shard. Raises Unavailable."""
        if await self._store(key, data, generations=1, scratch=scratch) is None:
            raise Unavailable(step="prepare", cause="equal content is being collected on this shard")

    async def _store(
        self,
        key: BlobKey,
        data: bytes | memoryview,
        *,
        generations: int = MAX_GENERATION + 1,
        scratch: Path | None = None,
    ) -> PreparedBlob | None:
        """Store in the object store, under the first generation of the key that is not being collected."""
        size = len(data)
        for _ in range(_TRIES):
            claimed = await self._claim(key, size, generations)
            if claimed is None:
                break
            name, row = claimed
            encoding: int = row["encoding"]
            if row["state"] == LIVE:
                return PreparedBlob(name, size, None, encoding)
            stored = await self._stored_form(data, encoding, scratch)
            store, place = self.stores.of(row["store"]), object_key(name, row["object"])
            await store.put(place, stored)
            if await self._database.execute(CONFIRM, name, row["object"]):
                return PreparedBlob(name, size, None, encoding)
            # Collected while this process was paused; nobody else ever uses this object's name.
            await store.delete(place)
        return None

    async def _stored_form(self, data: bytes | memoryview, encoding: int, scratch: Path | None) -> bytes | memoryview:
        try:
            return await elsewhere(len(data), lambda: encode(data, encoding, scratch))
        except OSError as error:
            raise Unavailable(step="prepare", cause=repr(error)) from error

    async def _claim(self, key: BlobKey, size: int, generations: int) -> tuple[BlobKey, Row] | None:
        encoding = encoding_for(size, self._encoding)
        for generation in range(generations):
            name = BlobKey(key + bytes([generation])) if generation else key
            row = await self._database.fetchrow(CLAIM, name, size, encoding, self.stores.number_for(name))
            if row is not None:
                return name, row
        return None
