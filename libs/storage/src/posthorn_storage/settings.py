"""What a Storage is opened with. Values only: nothing is read from files or the environment here."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from posthorn_storage.database.limits import Mode, PoolSizes, Regions, ReplicaLimits
from posthorn_storage.shard_rules import PlacementRules


@dataclass(frozen=True, slots=True)
class FsSettings:
    """Blobs in a folder of this machine (or of a shared file system)."""

    path: Path


@dataclass(frozen=True, slots=True)
class S3Settings:
    """Blobs in a bucket. `endpoint` is "host:port" or a URL, whose scheme then decides about TLS."""

    endpoint: str
    bucket: str
    access_key: str = field(repr=False)
    secret_key: str = field(repr=False)
    region: str = "us-east-1"
    secure: bool = True
    """TLS, when `endpoint` has no scheme."""
    prefix: str = ""
    """Before every object's name, such as "posthorn/"."""
    connections: int = 16
    """Requests at once; also the size of the thread pool."""
    timeout: float = 30.0
    """Seconds for one request."""
    attempts: int = 4
    create_bucket: bool = False
    storage_class: str = ""
    """Of new objects, such as "STANDARD_IA" or "GLACIER"; empty: the bucket's own."""


@dataclass(frozen=True, slots=True)
class AzureSettings:
    """Blobs in a container of an Azure storage account. `endpoint` is a URL, empty: the public cloud's."""

    account: str
    container: str
    access_key: str = field(repr=False)
    """The account's key, base64."""
    endpoint: str = ""
    prefix: str = ""
    connections: int = 16
    timeout: float = 30.0
    """Seconds for one request."""
    attempts: int = 4
    create_container: bool = False
    storage_class: str = ""
    """Access tier of new blobs: "Hot", "Cool", "Cold" or "Archive"; empty: the account's own."""


@dataclass(frozen=True, slots=True)
class RocksSettings:
    """Blobs in a RocksDB of this machine, which one process at a time can open."""

    path: Path
    compression: Literal["none", "lz4", "zstd"] = "none"
    """Of RocksDB itself: blobs come compressed already, unless they are stored plain."""
    cache_bytes: int = 32 * 1024 * 1024
    background_jobs: int = 2
    for_writes: bool = False
    """Larger write buffers: fewer and longer flushes, more memory."""
    for_reads: bool = False
    """Filters and indexes are kept in the cache, so that a key that is missing costs no read."""


StoreSettings = FsSettings | S3Settings | AzureSettings | RocksSettings


@dataclass(frozen=True, slots=True)
class DiskCacheSettings:
    """A folder of this machine that all processes of a node share, for what was read from blob stores lately."""

    path: Path
    size: int = 1024 * 1024 * 1024
    """Bytes of disk that all of it may take."""


@dataclass(frozen=True, slots=True)
class BlobPlaces:
    """Several stores of blobs by their names, which each database remembers: a name stays with its store."""

    stores: Mapping[str, StoreSettings]
    """All that blobs may lie in; those without blobs are not opened unless they are hot or cold."""
    hot: Sequence[str]
    """New blobs are spread over these."""
    cold: str = ""
    """Old blobs are moved here."""
    disk_cache: DiskCacheSettings | None = None


@dataclass(frozen=True, slots=True)
class RedisSettings:
    """The lookup store in Redis: one server, several sentinels and the name of their master, or nodes of a cluster.

    A URL is redis://[user:password@]host[:port][/database], or rediss:// for TLS to every server.
    """

    urls: tuple[str, ...] = field(repr=False)
    """Of sentinels they are, with their logins, and `user` and `password` are the master's."""
    sentinel_master: str = ""
    cluster: bool = False
    user: str = ""
    password: str = field(default="", repr=False)
    prefix: str = "posthorn:"
    """Before every key, so that several clusters can share a server."""
    connections: int = 20
    """At once; of a cluster to each of its nodes."""
    timeout: float = 1.0
    """Seconds to connect, and for each reply; best no longer than callers wait (posthorn_storage.lookup.store): a call
    that was cancelled may leave its connection waiting for the reply (Python 3.11)."""
    tls_ca: str | None = None
    """PEM file of the authorities to trust; None: the system's."""
    tls_cert: str | None = None
    tls_key: str | None = None


@dataclass(frozen=True, slots=True)
class MemorySettings:
    """The lookup store in the memory of one process, which no other process sees."""

    entries: int = 100_000
    """At most so many; those written longest ago are forgotten first."""


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """How a process connects to one PostgreSQL, and to its read replicas."""

    sizes: PoolSizes | None = None
    """None: `StorageSettings.pool_size` connections, shared as PoolSizes does."""
    mode: Mode = "session"
    """"transaction": the DSNs lead to a pooler that lends servers by the transaction."""
    replicas: tuple[str, ...] = field(default=(), repr=False)
    """postgresql:// URLs."""
    reading: ReplicaLimits = field(default_factory=ReplicaLimits)
    regions: Regions = field(default_factory=Regions)
    """Where this process stands, the primary and the replicas."""


@dataclass(frozen=True, slots=True)
class ShardSettings:
    """Another database that accounts live on; `name` is the one it is known by in the cluster, for ever."""

    name: str
    dsn: str = field(repr=False)
    """postgresql:// URL."""
    pools: PoolSettings = PoolSettings()
    blobs: tuple[str, ...] = ()
    """Names of the stores that take its new blobs, when they are others than the home's."""


@dataclass(frozen=True, slots=True)
class Rate:
    """So many in so many seconds, all at once at the most."""

    limit: int
    period: float


@dataclass(frozen=True, slots=True)
class LoginLimits:
    """Failed logins of the whole cluster, until no more are judged for a while. None: without limit."""

    per_address: Rate | None = Rate(100, 3600.0)
    """An IPv4 address, or the first 64 bits of an IPv6 address; for accounts that are not known there."""
    per_account: Rate | None = Rate(50, 3600.0)
    """From all addresses together where it is not known, and from each one where it is known."""
    exempt: tuple[str, ...] = ()
    """Networks where many people come from one address (a web mail server, a proxy): no `per_address`, no `ban`."""
    delay: float = 0.0
    """Seconds before a failure is answered, doubled with each one from the address, up to 16 times as long."""
    ban: Rate | None = None
    """Failures as of `per_address` with which an address is banned."""
    ban_seconds: float = 86_400.0
    never_banned: tuple[str, ...] = ()
    """Networks that are not banned for failures."""


@dataclass(frozen=True, slots=True)
class SubAddressing:
    """What a local part may have behind the name of an account or alias (RFC 5233)."""

    delimiters: str = "+"
    """Each of these characters parts the user from the detail; none: addresses have no detail."""
    mailboxes: bool = False
    """Mail goes into the mailbox that the detail names, if the account has one at the top and it has no special use."""


@dataclass(frozen=True, slots=True)
class SearchSettings:
    """Whose word forms a search by words knows. Languages are named as PostgreSQL's dictionaries are."""

    languages: tuple[str, ...] = (
        "english", "german", "french", "spanish", "italian", "portuguese", "dutch", "russian", "swedish", "danish",
        "norwegian", "finnish", "hungarian", "turkish", "greek",
    )  # fmt: skip
    """Looked for in messages; each makes a search ask for one more form of every word."""
    default_language: str = "english"
    """Of messages whose language cannot be told; "simple": words as they stand."""


@dataclass(frozen=True, slots=True)
class StorageSettings:
    """Everything `Storage.open` needs. Times are in seconds, sizes in bytes."""

    dsn: str = field(repr=False)
    """postgresql:// URL of the home: directory, queue, leases, and all accounts that live nowhere else."""
    blobs: StoreSettings | BlobPlaces | None
    """One store, or several by their names. None: for work on the database alone; whatever needs a blob that is not in
    it raises Unavailable."""
    inline_limit: int = 16384
    """Encoded blobs up to this size live in the database."""
    compression: Literal["zstd", "lz4", "none"] = "zstd"
    pool_size: int = 20
    """Connections of this process to each database whose `pools` say nothing else."""
    pools: PoolSettings = PoolSettings()
    """Of the home."""
    grace: float = 3600.0
    """An unreferenced blob is kept this long: longer than the longest upload plus the longest pause of a process."""
    cold_after: float = 30 * 86_400.0
    """A blob this old is moved to the cold store, where there is one."""
    duplicate_window: float = 300.0
    """A repeat of the same delivery (sender, Message-ID, content) within this time is suppressed."""
    combine_window: float = 0.003
    """Concurrent deliveries within this time share one transaction."""
    cache_bytes: int = 64 * 1024 * 1024
    """Memory for hot blobs of this process."""
    search: SearchSettings = SearchSettings()
    queue_shards: int = 16
    """Only the first Storage that opens a new database decides; later ones read what is there."""
    failure_after: float = 6.0
    """A process whose last heartbeat is so old is dead."""
    acquire_timeout: float = 5.0
    lookup: RedisSettings | MemorySettings | None = None
    """None: the lookup store is in the database."""
    logins: LoginLimits = LoginLimits()
    sub_addressing: SubAddressing = SubAddressing()
    name: str = "postgres"
    """Of the home's store, as placement rules name it."""
    shards: tuple[ShardSettings, ...] = ()
    placement: PlacementRules = field(default_factory=PlacementRules)
    """Where new accounts go."""
    secrets: tuple[str, ...] = field(default=(), repr=False)
    """The first seals what is secret in the database (keys of certificates), all of them open it. None: neither."""
