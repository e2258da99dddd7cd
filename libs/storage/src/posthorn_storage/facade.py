"""The facade: one Storage for a process, which opens the parts, hands them to each other and closes them."""

from collections.abc import Callable

from posthorn_model.clock import SystemClock
from posthorn_model.events import Changed
from posthorn_model.ports import Clock
from posthorn_storage.database import Database, DatabaseLimits
from posthorn_storage.directory import Directory
from posthorn_storage.leases import LeaseStore
from posthorn_storage.mail.journal import Units
from posthorn_storage.migrate import check_version
from posthorn_storage.nodes import NodeStore
from posthorn_storage.passwords import Passwords
from posthorn_storage.removal import Removal
from posthorn_storage.settings import StorageSettings


class Storage:
    """Everything stored, for one process. Made by `open`, ended by `close`."""

    directory: Directory
    leases: LeaseStore
    nodes: NodeStore
    on_change: Callable[[Changed], None] | None
    """Set by the service: called right after each commit that moved a modseq, once for each account. May not block."""

    def __init__(self, database: Database, settings: StorageSettings, clock: Clock) -> None:
        self.on_change = None
        self._database = database
        self._passwords = Passwords()
        units = Units(database, self._changed)
        removal = Removal(database, self._changed)
        self.directory = Directory(database, units, self._passwords, removal, clock)
        self.leases = LeaseStore(database)
        self.nodes = NodeStore(database)

    @classmethod
    async def open(cls, settings: StorageSettings, clock: Clock | None = None) -> "Storage":
        """Connect and check the schema's version. Raises Unavailable."""
        limits = DatabaseLimits(pool_size=settings.pool_size, acquire=settings.acquire_timeout)
        database = await Database.open(settings.dsn, limits)
        try:
            await check_version(database)
            return cls(database, settings, clock or SystemClock())
        except BaseException:
            await database.close()
            raise

    async def close(self) -> None:
        """Finish what runs, within seconds, and let everything go."""
        self._passwords.close()
        await self._database.close()

    async def probe_database(self) -> str:
        """Prove that the database answers; returns a text for people. Raises Unavailable."""
        return await self._database.probe()

    def _changed(self, event: Changed) -> None:
        if self.on_change is not None:
            self.on_change(event)
