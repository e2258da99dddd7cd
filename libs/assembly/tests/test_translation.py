"""From the settings file to what storage and bus are opened with."""

from pathlib import Path

import pytest

import posthorn_bus
from posthorn_assembly import bus_settings, roles, storage_settings
from posthorn_assembly.translation import near_shards
from posthorn_bus import KafkaSettings, NatsSettings, PeerSettings, TlsSettings
from posthorn_node.settings import NodeSettings, SettingsError, load, validate
from posthorn_storage import (
    BlobPlaces,
    FsSettings,
    LoginLimits,
    MemorySettings,
    PoolSizes,
    Rate,
    RedisSettings,
    Regions,
    ReplicaLimits,
    S3Settings,
    SubAddressing,
)
from posthorn_storage.settings import AzureSettings, DiskCacheSettings, RocksSettings

BASE = """
[cluster]
name = "north"
secret = "a secret"
queue-shards = 8
[store."postgres"]
type = "postgresql"
host = "db.example.org"
user = "mail"
password = "p@ss"
pool.max-connections = 7
"""


def settings(tmp_path: Path, text: str) -> NodeSettings:
    path = tmp_path / "node.toml"
    path.write_text(text)
    found: NodeSettings = validate(load(path, {}), {"": NodeSettings})[""]
    return found


def test_files_and_peers(tmp_path: Path) -> None:
    found = settings(tmp_path, BASE + '[store."fs"]\ntype = "fs"\npath = "/srv/blobs"\n')
    storage = storage_settings(found, duplicate_window=9.0)
    assert storage.dsn.startswith("postgresql://mail:p%40ss@db.example.org:5432/posthorn")
    assert storage.blobs == BlobPlaces({"fs": FsSettings(Path("/srv/blobs"))}, ("fs",))
    assert (storage.pools.sizes, storage.queue_shards, storage.duplicate_window) == (PoolSizes(7), 8, 9.0)
    bus = bus_settings(found)
    assert isinstance(bus, PeerSettings)
    assert (bus.secret, bus.host, bus.port, bus.advertise) == ("a secret", "127.0.0.1", 0, "")


def test_connections_and_replicas(tmp_path: Path) -> None:
    more = """
pool.delivery = 3
pool.mode = "transaction"
read-replicas = ["db2.example.org"]
replica.wait = "20ms"
replica.max-lag = "1m"
[store."fs"]
type = "fs"
path = "/x"
"""
    pools = storage_settings(settings(tmp_path, BASE + more)).pools
    assert pools.sizes == PoolSizes(7, delivery=3)
    assert pools.mode == "transaction"
    assert [dsn.partition("@")[2] for dsn in pools.replicas] == ["db2.example.org:5432/posthorn?sslmode=prefer"]
    assert pools.reading == ReplicaLimits(patience=0.02, max_lag=60.0)


def test_nats_with_a_login_over_tls(tmp_path: Path) -> None:
    text = BASE.replace("queue-shards", 'type = "nats"\nurls = "tls://u:p%40ss@n1"\ntls.ca = "/ca.pem"\nqueue-shards')
    found = bus_settings(settings(tmp_path, text + '[store."fs"]\ntype = "fs"\npath = "/x"\n'))
    tls = TlsSettings(ca=Path("/ca.pem"))
    assert found == NatsSettings(("n1:4222",), prefix="north", user="u", password="p@ss", tls=tls)


def test_redis_behind_sentinels(tmp_path: Path) -> None:
    short = 'type = "redis"\nurls = ["redis://w:one@s1", "redis://w:one@s2"]\nuser = "u"\npassword = "two"\n'
    text = BASE.replace("queue-shards", short + "queue-shards")
    found = bus_settings(settings(tmp_path, text + '[store."fs"]\ntype = "fs"\npath = "/x"\n'))
    assert found == posthorn_bus.RedisSettings(
        (posthorn_bus.Server("s1", 26379), posthorn_bus.Server("s2", 26379)),
        kind="sentinel",
        prefix="north",
        user="u",
        password="two",
        sentinel_user="w",
        sentinel_password="one",
    )


def test_peers_on_every_address_are_told_a_name(tmp_path: Path) -> None:
    text = (
        BASE.replace("queue-shards", 'peer-bind = "*:7100"\nqueue-shards') + '[store."fs"]\ntype = "fs"\npath = "/x"\n'
    )
    bus = bus_settings(settings(tmp_path, text))
    assert isinstance(bus, PeerSettings)
    assert (bus.host, bus.port) == ("0.0.0.0", 7100)
    assert bus.advertise not in ("", "0.0.0.0")


def test_s3_and_kafka_with_credentials(tmp_path: Path) -> None:
    text = (
        BASE.replace("queue-shards", 'coordinator = "k"\nqueue-shards')
        + """
[storage]
blob = "s3"
[store."s3"]
type = "s3"
endpoint = "https://s3.example.org"
bucket = "mail"
access-key = "key"
secret-key = "secret"
[store."k"]
type = "kafka"
bootstrap-servers = ["k1:9092", "k2:9092"]
tls.enable = true
sasl.mechanism = "SCRAM-SHA-256"
sasl.username = "posthorn"
sasl.password = "hidden"
topics.partitions = 24
topics.replication-factor = 5
topics.retention = "1h"
"""
    )
    found = settings(tmp_path, text)
    places = storage_settings(found).blobs
    assert isinstance(places, BlobPlaces)
    blobs = places.stores["s3"]
    assert isinstance(blobs, S3Settings)
    assert (blobs.endpoint, blobs.bucket, blobs.secret_key) == ("https://s3.example.org", "mail", "secret")
    bus = bus_settings(found)
    assert isinstance(bus, KafkaSettings)
    assert (bus.servers, bus.prefix, bus.group, bus.queue_partitions) == (("k1:9092", "k2:9092"), "north", "north", 8)
    made = (bus.change_partitions, bus.replication, bus.min_in_sync, bus.retention)
    assert made == (24, 5, None, 3600.0)
    assert bus.tls is not None
    assert bus.sasl is not None
    assert bus.sasl.password == "hidden"
    assert "hidden" not in repr(bus)


def test_several_blob_stores(tmp_path: Path) -> None:
    stores = "".join(f'[store."{name}"]\ntype = "fs"\npath = "/srv/{name}"\n' for name in ("old", "a", "b"))
    found = settings(tmp_path, BASE + stores + '[storage]\nblob = ["b", "a"]\nblobs.compression = "lz4"\n')
    storage = storage_settings(found)
    assert storage.compression == "lz4"
    assert isinstance(storage.blobs, BlobPlaces)
    assert storage.blobs.hot == ("b", "a")
    assert storage.blobs.stores == {name: FsSettings(Path(f"/srv/{name}")) for name in ("old", "a", "b")}


def test_tiers(tmp_path: Path) -> None:
    text = """
[store."s3-hot"]
type = "s3"
bucket = "stalwart-hot"
[store."s3-cold"]
type = "s3"
bucket = "stalwart-cold"
storage-class = "GLACIER"
[storage]
blob = "s3-hot"
[storage.tiers]
cold = "s3-cold"
after = "60d"
[storage.blobs.cache]
memory = "10MB"
path = "/var/cache/posthorn"
size = "5GB"
"""
    storage = storage_settings(settings(tmp_path, BASE + text))
    assert isinstance(storage.blobs, BlobPlaces)
    assert (storage.blobs.hot, storage.blobs.cold, storage.cold_after) == (("s3-hot",), "s3-cold", 60 * 86_400.0)
    assert storage.blobs.disk_cache == DiskCacheSettings(Path("/var/cache/posthorn"), 5 * 1024**3)
    assert storage.cache_bytes == 10 * 1024**2
    cold = storage.blobs.stores["s3-cold"]
    assert isinstance(cold, S3Settings)
    assert cold.storage_class == "GLACIER"
    for wrong in (text.replace('cold = "s3-cold"', 'cold = "s3-hot"'), text.replace('cold = "s3-cold"', 'cold = "x"')):
        with pytest.raises(SettingsError, match=r"tiers\.cold"):
            settings(tmp_path, BASE + wrong)


def test_azure_and_rocksdb(tmp_path: Path) -> None:
    text = """
[store."azure"]
type = "azure"
account = "mail"
container = "blobs"
access-key = "c2VjcmV0"
storage-class = "Cool"
[store."rocksdb"]
type = "rocksdb"
path = "/srv/rocks"
compression = "lz4"
cache.size = "8GB"
optimize.writes = true
optimize.reads = true
max-background-jobs = 8
[storage]
blob = ["azure", "rocksdb"]
"""
    places = storage_settings(settings(tmp_path, BASE + text)).blobs
    assert isinstance(places, BlobPlaces)
    assert places.stores["rocksdb"] == RocksSettings(
        Path("/srv/rocks"), "lz4", 8 * 1024**3, 8, for_writes=True, for_reads=True
    )
    azure = places.stores["azure"]
    assert isinstance(azure, AzureSettings)
    assert (azure.account, azure.access_key, azure.storage_class) == ("mail", "c2VjcmV0", "Cool")
    assert "c2VjcmV0" not in repr(places)


def test_look_ups_in_redis_and_failed_logins(tmp_path: Path) -> None:
    text = (
        BASE
        + """
[auth.throttle]
address = "7/1m"
account = "none"
exempt-networks = ["10.0.0.0/8"]
delay = "0s"
[auth.ban]
failures = "9/1d"
lasts = "2h"
allowed-networks = ["192.0.2.0/24"]
[sub-addressing]
delimiters = "-"
mailboxes = true
[storage]
lookup = "r"
[store."fs"]
type = "fs"
path = "/x"
[store."r"]
type = "redis"
urls = ["rediss://s1", "rediss://:watch@s2"]
sentinel.master = "m"
password = "hidden"
tls.ca = "/ca.pem"
pool.max-connections = 3
timeout = "200ms"
"""
    )
    found = storage_settings(settings(tmp_path, text))
    assert found.lookup == RedisSettings(
        ("rediss://s1", "rediss://:watch@s2"),
        sentinel_master="m",
        password="hidden",
        prefix="north:",
        connections=3,
        timeout=0.2,
        tls_ca="/ca.pem",
    )
    assert found.sub_addressing == SubAddressing("-", mailboxes=True)
    ban = Rate(9, 86_400.0)
    assert found.logins == LoginLimits(Rate(7, 60.0), None, ("10.0.0.0/8",), 0.0, ban, 7200.0, ("192.0.2.0/24",))
    assert "hidden" not in repr(found)
    assert "watch" not in repr(found)


def test_look_ups_elsewhere(tmp_path: Path) -> None:
    text = BASE + '[store."fs"]\ntype = "fs"\npath = "/x"\n[store."m"]\ntype = "memory"\nentries = 5000\n'
    assert storage_settings(settings(tmp_path, text)).lookup is None
    found = storage_settings(settings(tmp_path, text + '[storage]\nlookup = "m"\n'))
    assert found.lookup == MemorySettings(5000)


def test_a_store_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(SettingsError):
        storage_settings(settings(tmp_path, BASE + '[storage]\nblob = "elsewhere"\n'))


def test_roles_keep_their_lists(tmp_path: Path) -> None:
    text = BASE + "[cluster.roles.purge]\nstores = [1, 2]\naccounts = [[1], [2, 3]]\n"
    found = roles(settings(tmp_path, text + '[store."fs"]\ntype = "fs"\npath = "/x"\n'))
    assert found["purge.stores"] == ((1, 2),)
    assert found["purge.accounts"] == ((1,), (2, 3))
    assert found["acme.renew"] == ()
    assert found["dkim.rotate"] == ()


SHARDED = (
    BASE
    + """
[store."fs"]
type = "fs"
path = "/srv/blobs"
[store."east"]
type = "postgresql"
host = "east.example.org"
[storage]
data = "postgres"
[storage.shards."east"]
range = "a-m"
pin = ["Zoe@Example.org", "@example.net"]
[storage.shards."postgres"]
weight = 2
"""
)


def test_shards(tmp_path: Path) -> None:
    storage = storage_settings(settings(tmp_path, SHARDED))
    assert [shard.name for shard in storage.shards] == ["east"]
    assert "east.example.org" in storage.shards[0].dsn
    assert storage.name == "postgres"
    rules = storage.placement
    assert [rules.shard_for(f"{name}@example.org") for name in ("bob", "zoe", "zed")] == ["east", "east", "postgres"]
    assert rules.shard_for("zed@example.net") == "east"


REGIONAL = (
    SHARDED.replace('type = "postgresql"', 'type = "postgresql"\nregion = "us"', 1)
    .replace(
        'host = "east.example.org"',
        'host = "east.example.org"\nregion = "eu"\nread-replicas = ["r1:5433", "r2"]\nreplica.regions."r2" = "eu"',
    )
    .replace('data = "postgres"', 'data = "postgres"\nresidency."eu" = ["@Example.de"]')
    .replace('range = "a-m"', 'range = "a-m"\nblob = "fs"')
)


def test_regions(tmp_path: Path) -> None:
    found = settings(
        tmp_path, REGIONAL.replace("queue-shards", 'region = "eu"\nqueue-regions = ["us", "eu"]\nqueue-shards')
    )
    storage = storage_settings(found)
    assert storage.pools.regions == Regions("eu", "us")
    (east,) = storage.shards
    assert (east.pools.regions, east.blobs) == (Regions("eu", "eu", ("", "eu")), ("fs",))
    rules = storage.placement
    assert (rules.home_region, rules.region_for("ann@example.de"), rules.region_for("ann@example.org")) == (
        "us",
        "eu",
        "",
    )
    assert (rules.shard_for("zed@example.org", "eu"), rules.shard_for("ann@example.org", "us")) == ("east", "postgres")
    assert near_shards(found, 5) == ("queue/1", "queue/3")
    assert near_shards(settings(tmp_path, SHARDED), 5) == ()


@pytest.mark.parametrize(
    ("right", "wrong", "told"),
    [
        (
            'residency."eu"',
            'residency."eur"',
            "neither the data store nor a shard stands in that region .did you mean eu",
        ),
        ('regions."r2"', 'regions."r3"', 'read-replicas does not name "r3"'),
        ('blob = "fs"', 'blob = "east"', "this needs fs or"),
        ("weight = 2", 'weight = 2\nblob = "fs"', "the blobs of the data store go where storage.blob says"),
    ],
)
def test_regions_that_are_not_well_said(tmp_path: Path, right: str, wrong: str, told: str) -> None:
    settings(tmp_path, REGIONAL)
    with pytest.raises(SettingsError, match=told):
        settings(tmp_path, REGIONAL.replace(right, wrong))


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ('range = "m-a"', "the first before the last"),
        ('range = "A-M"', "range"),
        ('pin = ["example.org"]', "pin"),
        ("weight = -1", "weight"),
    ],
)
def test_shards_that_are_not_well_said(tmp_path: Path, wrong: str, told: str) -> None:
    with pytest.raises(SettingsError, match=told):
        settings(
            tmp_path, SHARDED.replace('range = "a-m"', "").replace('pin = ["Zoe@Example.org", "@example.net"]', wrong)
        )
    with pytest.raises(SettingsError, match="no \\[store"):
        settings(tmp_path, SHARDED.replace('[storage.shards."east"]', '[storage.shards."west"]'))
