"""The facade: one Storage for a process, which opens the parts, hands them to each other and closes them."""

import json
from collections.abc import Callable

from posthorn_model.clock import SystemClock
from posthorn_model.events import Changed
from posthorn_model.ports import Clock, ObjectStore
from posthorn_storage.blobs.content import PLAIN, ZSTD
from posthorn_storage.blobs.file_store import FileStore
from posthorn_storage.blobs.no_store import NoStore
from posthorn_storage.blobs.store import Blobs
from posthorn_storage.check import Check
from posthorn_storage.database import Database, DatabaseLimits
from posthorn_storage.directory import Directory
from posthorn_storage.groupware import GroupwareStore
from posthorn_storage.leases import LeaseStore
from posthorn_storage.lookup import Lookup, open_backend
from posthorn_storage.mail import MailStore
from posthorn_storage.mail.identifiers import MessageIds
from posthorn_storage.mail.journal import Units
from posthorn_storage.nodes import NodeStore
from posthorn_storage.passwords import Passwords
from posthorn_storage.purge import Purge
from posthorn_storage.queue import QueueStore
from posthorn_storage.queue.bounces import Bounces
from posthorn_storage.removal import Removal
from posthorn_storage.settings import S3Settings, StorageSettings
from posthorn_storage.submissions import Submissions
from posthorn_storage.version import check_version

MAX_SHARDS = 4096

# The first Storage on a new database decides; the number never changes after, for it says where recipients wait.
FIX_SHARDS = """
INSERT INTO cluster_setting (name, value) VALUES ('queue_shards', to_jsonb($1::int)) ON CONFLICT (name) DO NOTHING
"""
SHARDS = "SELECT value FROM cluster_setting WHERE name = 'queue_shards'"


class Storage:
    """Everything stored, for one process. Made by `open`, ended by `close`."""

    on_change: Callable[[Changed], None] | None
    """Set by the service: called right after each commit that moved a modseq, once for each account. May not block."""

    def __init__(
        self, database: Database, objects: ObjectStore, settings: StorageSettings, clock: Clock, shards: int
    ) -> None:
        self.on_change = None
        self._database = database
        self._objects = objects
        self._passwords = Passwords()
        units = Units(database, self._changed)
        removal = Removal(database, self._changed)
        self.blobs = Blobs(
            database,
            objects,
            inline_limit=settings.inline_limit,
            encoding=ZSTD if settings.compression == "zstd" else PLAIN,
            cache_bytes=settings.cache_bytes,
        )
        self.directory = Directory(database, units, self._passwords, removal, clock)
        bounces = Bounces(MessageIds(), settings.duplicate_window)
        self.queue = QueueStore(database, self.blobs, shards=shards, deliver=bounces, notify=self._changed)
        self.mail = MailStore(
            units,
            self.queue.enqueue_in,
            duplicate_window=settings.duplicate_window,
            combine_window=settings.combine_window,
        )
        self.submissions = Submissions(units, self.queue.enqueue_in, settings.duplicate_window)
        self.groupware = GroupwareStore(units)
        self.leases = LeaseStore(database)
        self.nodes = NodeStore(database)
        self.lookup = Lookup(open_backend(settings.lookup, database), clock)
        self.check = Check(database, objects)
        self.purge = Purge(
            database, objects, self.nodes, removal, grace=settings.grace, duplicate_window=settings.duplicate_window
        )

    @classmethod
    async def open(cls, settings: StorageSettings, clock: Clock | None = None) -> "Storage":
        """Connect to database and blob store and check the schema's version. Raises Unavailable."""
        limits = DatabaseLimits(pool_size=settings.pool_size, acquire=settings.acquire_timeout)
        database = await Database.open(settings.dsn, limits)
        try:
            await check_version(database)
            await database.execute(FIX_SHARDS, max(1, min(settings.queue_shards, MAX_SHARDS)))
            shards = json.loads(await database.fetchval(SHARDS))
            objects = await _open_objects(settings)
            return cls(database, objects, settings, clock or SystemClock(), shards)
        except BaseException:
            await database.close()
            raise

    async def close(self) -> None:
        """Finish what runs, within seconds, and let everything go."""
        await self.mail.close()
        self._passwords.close()
        await self.lookup.close()
        await self._objects.close()
        await self._database.close()

    async def probe_database(self) -> str:
        """Prove that the database answers and takes writes; returns a text for people. Raises Unavailable."""
        return await self._database.probe()

    async def probe_blobs(self) -> str:
        """Prove that the blob store answers; returns a text for people. Raises Unavailable."""
        await self._objects.probe()
        return type(self._objects).__name__

    def _changed(self, event: Changed) -> None:
        if self.on_change is not None:
            self.on_change(event)


async def _open_objects(settings: StorageSettings) -> ObjectStore:
    if settings.blobs is None:
        return NoStore()
    if isinstance(settings.blobs, S3Settings):
        from posthorn_storage.blobs.s3_store import S3Store  # minio: loaded only where it is used

        return await S3Store.open(settings.blobs)
    return await FileStore.open(settings.blobs.path)
