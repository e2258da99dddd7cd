"""Blobs in a RocksDB on this machine: many small objects in few files, for a single process.

RocksDB locks its folder: a second process that opens it is refused. Since each service is a process of its own, this
store serves where only one of them touches blobs (docs/decisions/0010-rocksdb-serves-one-process.md).
"""

import struct
import time
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any, Final, TypeVar

from rocksdict import BlockBasedOptions, Cache, DBCompressionType, Options, Rdict, WriteOptions

from posthorn_model.errors import BlobNotFound, Unavailable
from posthorn_model.ids import BlobKey
from posthorn_model.ports import Listing, StoredObject
from posthorn_storage.blobs.object_names import key_of, object_name
from posthorn_storage.blobs.threads import Threads
from posthorn_storage.settings import RocksSettings

_THREADS: Final = 8
_STORED_AT: Final = struct.Struct(">d")
"""Before each value: when it was stored, in seconds since 1970."""
_LARGE: Final = 4096
"""Values from this size on lie in files of their own kind, which compaction does not copy again and again."""
_PROBE: Final = b"probe"
_COMPRESSION: Final = {
    "none": DBCompressionType.none,
    "lz4": DBCompressionType.lz4,
    "zstd": DBCompressionType.zstd,
}
T = TypeVar("T")


class RocksStore:
    """The port posthorn_model.ports.ObjectStore over a RocksDB."""

    def __init__(self, settings: RocksSettings) -> None:
        self._settings = settings
        self._threads = Threads("blob-rocksdb", _THREADS)
        self._db: Rdict | None = None

    @classmethod
    async def open(cls, settings: RocksSettings) -> "RocksStore":
        """Make the folder when it is missing. Raises Unavailable, also when another process has it open."""
        store = cls(settings)
        try:
            await store._threads.run("open", store._open)
        except Unavailable:
            await store.close()
            raise
        return store

    async def put(self, key: BlobKey, data: bytes | memoryview) -> None:
        """See the port."""
        value = _STORED_AT.pack(time.time()) + data
        await self._run("put", lambda db: db.put(bytes(key), value))

    async def get(self, key: BlobKey) -> bytes:
        """See the port."""
        return (await self._value(key))[_STORED_AT.size :]

    async def get_range(self, key: BlobKey, start: int, length: int) -> bytes:
        """See the port; the whole value is read."""
        value = await self._value(key)
        begin = _STORED_AT.size + max(start, 0)
        return value[begin : begin + max(length, 0)]

    async def list(self, after: str, limit: int) -> Listing:
        """See the port: in the order of the keys."""

        def page(db: Rdict) -> Listing:
            start = bytes.fromhex(after)
            items: Iterator[tuple[Any, Any]] = db.items(from_key=start) if start else db.items()
            found = list(islice((item for item in items if item[0] > start), limit))
            known = [(key_of(object_name(BlobKey(key))), value) for key, value in found if key != _PROBE]
            return Listing(
                objects=[
                    StoredObject(key, _STORED_AT.unpack_from(value)[0])
                    for key, value in known
                    if key is not None and len(value) >= _STORED_AT.size
                ],
                foreign=sum(key is None for key, _ in known),
                after=found[-1][0].hex() if len(found) == limit else "",
            )

        return await self._run("list", page)

    async def delete(self, key: BlobKey) -> None:
        """See the port."""
        await self._run("delete", lambda db: db.delete(bytes(key)))

    async def probe(self) -> None:
        """See the port: writes a small value."""
        await self._run("probe", lambda db: db.put(_PROBE, _STORED_AT.pack(time.time())))

    async def close(self) -> None:
        """See the port: also gives the folder back."""
        self._threads.close()
        db, self._db = self._db, None
        if db is not None:
            db.close()

    async def _value(self, key: BlobKey) -> bytes:
        value: bytes | None = await self._run("get", lambda db: db.get(bytes(key)))
        if value is None:
            raise BlobNotFound(key=key.hex())
        return value

    async def _run(self, step: str, work: Callable[[Rdict], T]) -> T:
        db = self._db

        def guarded() -> T:
            if db is None:
                raise Unavailable(step=f"blob {step}", cause="the store is closed")
            try:
                return work(db)
            except Exception as error:  # RocksDB's failures have no class of their own
                raise Unavailable(step=f"blob {step}", cause=repr(error)) from error

        return await self._threads.run(step, guarded)

    def _open(self) -> None:
        settings = self._settings
        try:
            settings.path.mkdir(parents=True, exist_ok=True)
            db = Rdict(str(settings.path), _options(settings))
            # A put is durable when it returns: the log is synced with it.
            durable = WriteOptions()
            durable.sync = True
            db.set_write_options(durable)
        except Exception as error:
            locked = "lock" in str(error).lower()
            told = "another process has the blob store's folder open" if locked else None
            raise Unavailable(told, step="blob open", path=str(settings.path), cause=repr(error)) from error
        self._db = db


def _options(settings: RocksSettings) -> Options:
    compression = _COMPRESSION[settings.compression]()
    options = Options(raw_mode=True)
    options.create_if_missing(True)
    options.set_compression_type(compression)
    options.set_enable_blob_files(True)
    options.set_min_blob_size(_LARGE)
    options.set_blob_compression_type(compression)
    options.set_enable_blob_gc(True)
    options.set_max_background_jobs(max(2, settings.background_jobs))
    options.set_keep_log_file_num(4)
    if settings.for_writes:
        options.set_write_buffer_size(128 * 1024 * 1024)
        options.set_max_write_buffer_number(4)
    table = BlockBasedOptions()
    table.set_block_cache(Cache(settings.cache_bytes))
    if settings.for_reads:
        table.set_bloom_filter(10, False)
        table.set_cache_index_and_filter_blocks(True)
        table.set_pin_l0_filter_and_index_blocks_in_cache(True)
    options.set_block_based_table_factory(table)
    return options
