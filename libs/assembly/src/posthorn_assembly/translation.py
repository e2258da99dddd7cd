"""From the words of the settings file to what the storage is opened with. Values only; nothing is opened here."""

from collections.abc import Mapping
from pathlib import Path

from posthorn_assembly.blob_places import blob_places
from posthorn_node import settings as node_settings
from posthorn_node.settings import NodeSettings, parse_rate
from posthorn_storage import (
    LoginLimits,
    MemorySettings,
    PlacementRules,
    PoolSettings,
    PoolSizes,
    Rate,
    RedisSettings,
    Regions,
    ReplicaLimits,
    SearchSettings,
    ShardRule,
    ShardSettings,
    StorageSettings,
    SubAddressing,
)


def storage_settings(settings: NodeSettings, *, duplicate_window: float = 300.0) -> StorageSettings:
    """What Storage.open is given. Raises SettingsError when a named store is missing."""
    data, here = settings.data_store(), settings.cluster.region
    return StorageSettings(
        dsn=data.connection(),
        blobs=blob_places(settings),
        inline_limit=settings.storage.blobs.inline_limit,
        compression=settings.storage.blobs.compression,
        pools=_pools(data, here),
        grace=settings.storage.blobs.grace,
        cache_bytes=settings.storage.blobs.cache.memory,
        cold_after=settings.storage.tiers.after,
        duplicate_window=duplicate_window,
        queue_shards=settings.cluster.queue_shards,
        failure_after=settings.cluster.failure_after,
        name=settings.storage.data,
        shards=tuple(
            ShardSettings(name, store.connection(), _pools(store, here), settings.storage.shards[name].blob)
            for name, store in settings.shard_stores().items()
        ),
        placement=_placement(settings),
        search=SearchSettings(settings.storage.search.languages, settings.storage.search.default_language),
        lookup=_lookup(settings),
        logins=login_limits(settings.auth),
        sub_addressing=SubAddressing(settings.sub_addressing.delimiters, settings.sub_addressing.mailboxes),
        secrets=settings.sealing_secrets(),
    )


def _pools(store: node_settings.PostgresStore, here: str) -> PoolSettings:
    pool, replica = store.pool, store.replica
    return PoolSettings(
        sizes=PoolSizes(pool.max_connections, pool.interactive, pool.delivery, pool.queue, pool.maintenance),
        mode=pool.mode,
        replicas=store.replica_connections(),
        reading=ReplicaLimits(connections=replica.connections, patience=replica.wait, max_lag=replica.max_lag),
        regions=Regions(here, store.region, tuple(replica.regions.get(each, "") for each in store.read_replicas)),
    )


def _lookup(settings: NodeSettings) -> RedisSettings | MemorySettings | None:
    store = settings.lookup_store()
    if store is None:
        return None
    if isinstance(store, node_settings.MemoryStore):
        return MemorySettings(store.entries)
    return RedisSettings(
        urls=tuple(url.get_secret_value() for url in store.urls),
        sentinel_master=store.sentinel.master,
        cluster=store.cluster,
        user=store.user,
        password=store.password.get_secret_value(),
        prefix=f"{settings.cluster.name}:",
        connections=store.pool.max_connections,
        timeout=store.timeout,
        tls_ca=_path(store.tls.ca),
        tls_cert=_path(store.tls.cert),
        tls_key=_path(store.tls.key),
    )


def _path(path: Path | None) -> str | None:
    return None if path is None else str(path)


def login_limits(auth: node_settings.AuthSettings) -> LoginLimits:
    """What failed logins are judged by."""
    throttle = auth.throttle
    return LoginLimits(
        per_address=_rate(throttle.address),
        per_account=_rate(throttle.account),
        exempt=throttle.exempt_networks,
        delay=throttle.delay,
        ban=_rate(auth.ban.failures),
        ban_seconds=auth.ban.lasts,
        never_banned=auth.ban.allowed_networks,
    )


def _rate(text: str) -> Rate | None:
    found = parse_rate(text)
    return Rate(*found) if found else None


def _placement(settings: NodeSettings) -> PlacementRules:
    stores = {settings.storage.data: settings.data_store(), **settings.shard_stores()}
    rules = [_rule(name, rule, stores[name].region) for name, rule in settings.storage.shards.items()]
    residents = {who.lower(): region for region, pins in settings.storage.residency.items() for who in pins}
    return PlacementRules(tuple(rules), settings.data_store().region, residents)


def _rule(name: str, rule: node_settings.ShardSettings, region: str) -> ShardRule:
    first, last = rule.bounds()
    return ShardRule(name, frozenset(pin.lower() for pin in rule.pin), first, last, rule.weight, region)


def near_shards(settings: NodeSettings, shards: int) -> tuple[str, ...]:
    """The keys of the queue shards, of so many, that are preferably sent from where this node stands."""
    here, regions = settings.cluster.region, settings.cluster.queue_regions
    if not here or not regions:
        return ()
    return tuple(f"queue/{number}" for number in range(shards) if regions[number % len(regions)] == here)


def roles(settings: NodeSettings) -> Mapping[str, node_settings.EligibleNodes]:
    """The roles of the settings by name, such as "purge.stores", with the nodes that may hold them."""
    found = settings.cluster.roles
    return {
        "purge.stores": found.purge.stores,
        "purge.accounts": found.purge.accounts,
        "acme.renew": found.acme.renew,
        "dkim.rotate": found.dkim.rotate,
        "metrics.calculate": found.metrics.calculate,
        "metrics.push": found.metrics.push,
        "reports.send": found.reports.send,
        "index.messages": found.index.messages,
        "push.send": found.push.send,
    }
