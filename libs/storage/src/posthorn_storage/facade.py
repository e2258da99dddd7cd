"""The facade: one Storage for a process, which opens the parts, hands them to each other and closes them."""

import json
import secrets
import socket
from collections.abc import Callable, Mapping, Sequence

from posthorn_mail_format.srs import SenderRewriting
from posthorn_model.clock import SystemClock
from posthorn_model.events import Changed
from posthorn_model.ids import AccountId
from posthorn_model.ports import Clock
from posthorn_model.queue_items import NewQueueMessage
from posthorn_storage.bans import BanStore
from posthorn_storage.blob_store import BlobStore
from posthorn_storage.blobs.places import Place
from posthorn_storage.blobs.stores import UNNAMED, OpenStores, Stores
from posthorn_storage.blobs.upkeep import BlobUpkeep
from posthorn_storage.certificates import CertificateStore
from posthorn_storage.certificates.orders import OrderStore
from posthorn_storage.certificates.sealing import KeyRing
from posthorn_storage.check import Check
from posthorn_storage.clock import DatabaseClock
from posthorn_storage.database import Connection, DatabaseLimits, Pools, PoolSizes
from posthorn_storage.directory import Directory
from posthorn_storage.directory.distributions import Distributions
from posthorn_storage.directory.login_throttle import LoginThrottle
from posthorn_storage.directory.passwords import Passwords
from posthorn_storage.directory.recipients import Recipients
from posthorn_storage.dkim import DkimStore
from posthorn_storage.dmarc import DmarcStore
from posthorn_storage.groupware import GroupwareStore
from posthorn_storage.leases import LeaseStore
from posthorn_storage.lookup import Lookup, open_backend
from posthorn_storage.mail.identifiers import MessageIds
from posthorn_storage.mail.journal import Units
from posthorn_storage.mail_store import MailStore
from posthorn_storage.nodes import NodeStore
from posthorn_storage.purge import Purge
from posthorn_storage.push import PushStore
from posthorn_storage.queue import QueueStore
from posthorn_storage.queue.bounces import Bounces
from posthorn_storage.role_jobs import JobStore
from posthorn_storage.roles import RoleStore
from posthorn_storage.search_store import SearchStore
from posthorn_storage.settings import BlobPlaces, PoolSettings, StorageSettings
from posthorn_storage.shards import Placements, Shard, Shards
from posthorn_storage.shards.moving import Moves
from posthorn_storage.shards.regions import check_regions, said_by
from posthorn_storage.shards.registry import open_shards
from posthorn_storage.shards.removals import Removals
from posthorn_storage.shards.shard import HOME, assemble_blobs, assemble_shard, refuse_queue
from posthorn_storage.sieve_scripts import SieveScripts
from posthorn_storage.sts_policies import StsPolicies
from posthorn_storage.submissions import Submissions
from posthorn_storage.tls_reports import TlsReportStore
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
        self,
        pools: Pools,
        others: Mapping[int, tuple[str, Pools]],
        objects: OpenStores,
        stores: Mapping[int, Stores],
        settings: StorageSettings,
        clock: Clock,
        queue_shards: int,
    ) -> None:
        # size: the parts of a storage, in the order in which they need each other
        self.on_change = None
        self._database = pools.interactive
        self._objects = objects
        self._passwords = Passwords()
        blobs = assemble_blobs(pools.interactive, stores[HOME], settings)
        changed = pools.telling(self._changed)
        bounces = Bounces(Units(pools.queue, MessageIds(), changed), self._enqueue, settings.duplicate_window)
        self.queue = QueueStore(pools.queue, blobs, shards=queue_shards, deliver=bounces, notify=changed)
        region = settings.pools.regions.primary
        home = assemble_shard(HOME, settings.name, region, pools, blobs, self.queue.enqueue_in, settings, self._changed)
        shards = [home, *(self._shard(number, *other, stores[number], settings) for number, other in others.items())]
        self.shards = Shards(shards, Placements(pools.interactive, clock.monotonic))
        removals = Removals(self.shards, self._changed)
        self.blobs = BlobStore(self.shards)
        self.lookup = Lookup(open_backend(settings.lookup, pools.interactive), clock)
        self.bans = BanStore(pools.interactive)
        throttle = LoginThrottle(self.lookup, self.bans, settings.logins, clock)
        self.limit_logins = throttle.become
        """Judge failed logins by other limits from now on."""
        self.mail = MailStore(self.shards, duplicate_window=settings.duplicate_window)
        self.recipients = Recipients(
            pools.interactive, self.shards, self.mail, settings.sub_addressing, clock.monotonic
        )
        self.senders = SenderRewriting.from_secrets(settings.secrets)
        self.directory = Directory(
            self.shards, settings.placement, self._passwords, throttle, removals, self.recipients, clock
        )
        self.distributions = Distributions(pools.interactive, self.directory.note_change)
        self.submissions = Submissions(self.shards, self.mail, self.queue.enqueue_in, settings.duplicate_window)
        self.sieve = SieveScripts(self.shards, clock)
        self.groupware = GroupwareStore(self.shards)
        self.search = SearchStore(self.shards)
        self.leases = LeaseStore(pools.queue)
        self.role_jobs = JobStore(pools.queue)
        self.clock = DatabaseClock(pools.queue, clock)
        """Tells the time of the database; ask it to `measure` or `keep` first."""
        self.nodes = NodeStore(pools.queue, failure_after=settings.failure_after)
        keys = KeyRing(settings.secrets)
        self.certificates = CertificateStore(pools.queue, keys)
        self.acme = OrderStore(pools.queue, keys)
        self.dkim = DkimStore(pools.queue, keys)
        self.dmarc = DmarcStore(pools.queue, self.queue.enqueue_in)
        self.tls_reports = TlsReportStore(pools.queue, self.queue.enqueue_in)
        self.sts_policies = StsPolicies(pools.queue)
        self.push = PushStore(self.shards, keys)
        self.roles = RoleStore(pools.queue, self.nodes)
        self.moves = Moves(self.shards, self.leases, f"{socket.gethostname()}/{secrets.token_hex(4)}", self._changed)
        self.checks = {shard.name: _check(shard, stores[shard.number]) for shard in shards}
        """Of each shard by its name, the home first."""
        self.check = self.checks[home.name]
        places = _places_of(pools, others, stores)
        self.blob_upkeep = BlobUpkeep(places, grace=settings.grace, cold_after=settings.cold_after)
        databases = [shard.pools.maintenance for shard in shards]
        self.purge = Purge(databases, self.blob_upkeep, removals, duplicate_window=settings.duplicate_window)

    @classmethod
    async def open(cls, settings: StorageSettings, clock: Clock | None = None) -> "Storage":
        """Connect to databases and blob store and check the schema's version. Raises Unavailable."""

        async def connect(dsn: str, pools: PoolSettings) -> Pools:
            sizes = pools.sizes or PoolSizes(settings.pool_size)
            limits = DatabaseLimits(acquire=settings.acquire_timeout, mode=pools.mode)
            return await Pools.open(
                dsn, sizes, limits, replicas=pools.replicas, reading=pools.reading, regions=pools.regions
            )

        home = await connect(settings.dsn, settings.pools)
        others: dict[int, tuple[str, Pools]] = {}
        objects = OpenStores(_places(settings))
        try:
            await check_version(home.interactive)
            await home.interactive.execute(FIX_SHARDS, max(1, min(settings.queue_shards, MAX_SHARDS)))
            queue_shards = json.loads(await home.interactive.fetchval(SHARDS))
            others = await open_shards(home.interactive, settings.shards, connect)
            numbers = {name: number for number, (name, _) in others.items()}
            await check_regions(home.interactive, said_by(settings, numbers))
            stores = {HOME: await objects.bind(home.interactive)}
            own = {shard.name: shard.blobs for shard in settings.shards}
            for number, (name, pools) in others.items():
                stores[number] = await objects.bind(pools.interactive, own[name])
            return cls(home, others, objects, stores, settings, clock or SystemClock(), queue_shards)
        except BaseException:
            await objects.close()
            for pools in (home, *(other for _, other in others.values())):
                await pools.close()
            raise

    async def close(self) -> None:
        """Finish what runs, within seconds, and let everything go."""
        await self.mail.close()
        self._passwords.close()
        await self.lookup.close()
        await self._objects.close()
        for shard in self.shards:
            await shard.close()

    async def probe_database(self) -> str:
        """Prove that every database answers and takes writes; returns a text for people. Raises Unavailable."""
        texts = [await shard.database.probe() for shard in self.shards]
        return texts[0] if len(texts) == 1 else f"{texts[0]}, {len(texts)} shards"

    async def probe_blobs(self) -> str:
        """Prove that the blob stores answer; returns a text for people. Raises Unavailable."""
        return await self._objects.probe()

    def databases(self) -> Mapping[str, Pools]:
        """The connections to each database, by the name of its store: for metrics."""
        return {shard.name: shard.pools for shard in self.shards}

    @property
    def has_replicas(self) -> bool:
        """Whether anything is read from replicas, so that changes of other processes must be heard."""
        return any(shard.pools.replicas is not None for shard in self.shards)

    def heard(self, event: Changed) -> None:
        """Another process changed an account: call it before anybody hears of it who may read. May not block."""
        for shard in self.shards:
            shard.pools.heard(event)

    async def probe_lookup(self) -> str:
        """Prove that the lookup store answers; returns a text for people. Raises Unavailable."""
        return await self.lookup.probe()

    def forget_placement(self, account: AccountId) -> None:
        """An account lives on another shard now (Control "account-moved")."""
        self.shards.placements.forget([account])

    def _shard(self, number: int, name: str, pools: Pools, stores: Stores, settings: StorageSettings) -> Shard:
        blobs = assemble_blobs(pools.interactive, stores, settings)
        region = next((shard.pools.regions.primary for shard in settings.shards if shard.name == name), "")
        return assemble_shard(number, name, region, pools, blobs, refuse_queue, settings, self._changed)

    async def _enqueue(self, connection: Connection, messages: Sequence[NewQueueMessage]) -> None:
        await self.queue.enqueue_in(connection, messages)

    def _changed(self, event: Changed) -> None:
        if self.on_change is not None:
            self.on_change(event)


def _places_of(home: Pools, others: Mapping[int, tuple[str, Pools]], stores: Mapping[int, Stores]) -> Sequence[Place]:
    """Every database with the blob stores of its shard, the home first."""
    beside = [Place(other.maintenance, stores[number], home=False) for number, (_, other) in others.items()]
    return [Place(home.maintenance, stores[HOME]), *beside]


def _check(shard: Shard, stores: Stores) -> Check:
    return Check(shard.pools.maintenance, stores, home=shard.is_home)


def _places(settings: StorageSettings) -> BlobPlaces | None:
    """The stores by their names; one that was given alone has none."""
    blobs = settings.blobs
    return blobs if blobs is None or isinstance(blobs, BlobPlaces) else BlobPlaces({UNNAMED: blobs}, (UNNAMED,))
