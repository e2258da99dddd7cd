"""From the words of the settings file to what the bus is opened with. Values only; nothing is opened here."""

import socket

from posthorn_bus import (
    BusSettings,
    KafkaSettings,
    NatsSettings,
    PeerSettings,
    RedisSettings,
    SaslSettings,
    Server,
    TlsSettings,
)
from posthorn_node import settings as node_settings
from posthorn_node.settings import NodeSettings, parse_bind

ANY_HOST = "0.0.0.0"  # noqa: S104  the operator's own word for every address


def bus_settings(settings: NodeSettings) -> BusSettings:
    """What open_bus is given. Raises SettingsError when the named coordinator is missing."""
    found = settings.coordinator()
    match found:
        case None:
            return _peers(settings.cluster)
        case node_settings.NatsSettings():
            return _nats(found, settings.cluster)
        case node_settings.RedisServers():
            return _redis(found, settings.cluster)
        case node_settings.KafkaSettings():
            return _kafka(found, settings.cluster)


def _peers(cluster: node_settings.ClusterSettings) -> PeerSettings:
    host, port = parse_bind(cluster.peer_bind)
    return PeerSettings(
        secret=cluster.secret.get_secret_value(),
        host=host or ANY_HOST,
        port=port,
        advertise=cluster.peer_advertise or ("" if host and host not in (ANY_HOST, "::") else socket.gethostname()),
        heartbeat=min(1.0, cluster.heartbeat),
    )


def _nats(nats: node_settings.NatsSettings, cluster: node_settings.ClusterSettings) -> NatsSettings:
    user, password, token = nats.login()
    return NatsSettings(
        servers=nats.servers(),
        prefix=cluster.name,
        user=user,
        password=password,
        token=token,
        tls=TlsSettings(nats.tls.ca, nats.tls.cert, nats.tls.key) if nats.secured else None,
    )


def _redis(redis: node_settings.RedisServers, cluster: node_settings.ClusterSettings) -> RedisSettings:
    (user, password), (sentinel_user, sentinel_password) = redis.login(), redis.sentinel_login()
    return RedisSettings(
        servers=tuple(Server(host, port) for host, port in redis.servers()),
        kind=redis.kind,
        master=redis.sentinel.master,
        prefix=cluster.name,
        user=user,
        password=password,
        sentinel_user=sentinel_user,
        sentinel_password=sentinel_password,
        tls=TlsSettings(redis.tls.ca, redis.tls.cert, redis.tls.key) if redis.secured else None,
    )


def _kafka(kafka: node_settings.KafkaSettings, cluster: node_settings.ClusterSettings) -> KafkaSettings:
    return KafkaSettings(
        servers=tuple(kafka.bootstrap_servers),
        prefix=kafka.topic or cluster.name,
        group=kafka.group_id or cluster.name,
        tls=TlsSettings(kafka.tls.ca, kafka.tls.cert, kafka.tls.key) if kafka.tls.enable else None,
        sasl=SaslSettings(kafka.sasl.mechanism, kafka.sasl.username, kafka.sasl.password.get_secret_value())
        if kafka.sasl.mechanism
        else None,
        change_partitions=kafka.topics.partitions,
        queue_partitions=cluster.queue_shards,
        retention=kafka.topics.retention,
        replication=kafka.topics.replication_factor,
        min_in_sync=kafka.topics.min_insync_replicas,
    )
