"""BlobStore: the one door to blobs. Each shard has blob rows of its own, all over the same object store.

What refers to a blob lies beside its row, so a reader says whose blob it reads; None is the queue's. Content that is to
be referred to on several shards is stored for each of them, under one key.
"""

from collections.abc import Iterable
from pathlib import Path

from posthorn_model.ids import AccountId, BlobKey
from posthorn_model.mail import PreparedBlob
from posthorn_storage.blobs.reading import PLACES
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.shards import Shards


class BlobStore:
    """See the module. All methods raise Unavailable, Overloaded."""

    def __init__(self, shards: Shards) -> None:
        self._shards = shards

    def served(self) -> dict[str, int]:
        """How many reads of this process were served from where (reading.PLACES), over all shards."""
        return {place: sum(shard.blobs.served[place] for shard in self._shards) for place in PLACES}

    async def of(self, account: AccountId | None) -> Blobs:
        """The blobs of an account's shard, or of the queue; good for one request, for an account may move."""
        shard = self._shards.home if account is None else await self._shards.of(account)
        return shard.blobs

    async def prepare(
        self,
        data: bytes | memoryview,
        *,
        accounts: Iterable[AccountId] = (),
        queued: bool = False,
        scratch: Path | None = None,
    ) -> PreparedBlob:
        """Make `data` safe to refer to by these accounts and, if `queued`, by the queue.

        `scratch` is a folder for what would else take memory as large as `data` (see Blobs.prepare).
        """
        shards = list(await self._shards.group(accounts))
        if (queued or not shards) and self._shards.home not in shards:
            shards.append(self._shards.home)
        prepared = await shards[0].blobs.prepare(data, scratch=scratch)
        if prepared.inline is None:
            for shard in shards[1:]:
                await shard.blobs.provide(prepared.key, data, scratch=scratch)
        return prepared

    async def read(self, account: AccountId | None, key: BlobKey) -> bytes:
        """The whole content. Raises BlobNotFound."""
        return await (await self.of(account)).read(key)

    async def read_range(self, account: AccountId, key: BlobKey, start: int, length: int) -> bytes:
        """Bytes `start` to `start + length` (fewer at the end). Raises BlobNotFound."""
        return await (await self.of(account)).read_range(key, start, length)

    async def upload(
        self, account: AccountId, data: bytes | memoryview, content_type: str = "application/octet-stream"
    ) -> BlobKey:
        """Store content for an account to refer to within 24 h (RFC 8620 6.1), committed."""

        async def store() -> BlobKey:
            return await (await self.of(account)).upload(account, data, content_type)

        return await self._shards.follow([account], store)

    async def keep(self, account: AccountId, data: bytes | memoryview) -> PreparedBlob:
        """Make `data` safe to refer to, and an upload of the account's for 24 h too."""

        async def store() -> PreparedBlob:
            return await (await self.of(account)).prepare(data, account=account)

        return await self._shards.follow([account], store)

    async def may_read(self, account: AccountId, key: BlobKey) -> bool:
        """Whether anything of the account refers to the blob."""
        return await (await self.of(account)).may_read(account, key)

    async def find(self, account: AccountId, key: BlobKey) -> int | None:
        """The size of a blob that something of the account refers to."""
        return await (await self.of(account)).find(account, key)
