"""Settings from TOML and the environment: read, judged as a whole, typed. It knows no service's own table."""

from posthorn_node.settings.acme import AcmeSettings, EabSettings
from posthorn_node.settings.auth import AuthSettings, BanSettings, OauthSettings, Rate, ThrottleSettings, parse_rate
from posthorn_node.settings.blob_stores import AzureStore, BlobStore, FsStore, RocksStore, S3Store
from posthorn_node.settings.certificates import CertificateFiles, CertificatesSettings, ServerTlsSettings
from posthorn_node.settings.check import notices, validate
from posthorn_node.settings.cluster import ClusterSettings
from posthorn_node.settings.coordinators import BusSaslSettings, BusTlsSettings, KafkaSettings, NatsSettings
from posthorn_node.settings.display import shown
from posthorn_node.settings.dkim import DkimSettings
from posthorn_node.settings.dns_updates import DnsSettings
from posthorn_node.settings.file import SettingsFile, load, parse
from posthorn_node.settings.keys import known_keys
from posthorn_node.settings.lookup_stores import LookupStore, MemoryStore, RedisStore
from posthorn_node.settings.metrics_push import PushSettings
from posthorn_node.settings.node import LogSettings, MetricsSettings, NodeSettings, ResolverSettings
from posthorn_node.settings.postgres import PostgresStore
from posthorn_node.settings.problems import Problem, SettingsError
from posthorn_node.settings.processes import ServiceSettings, processes_of
from posthorn_node.settings.redis_servers import RedisServers
from posthorn_node.settings.reports import DmarcReportSettings, ReportsSettings, TlsReportSettings
from posthorn_node.settings.roles import RolesSettings
from posthorn_node.settings.server import HTTP_PROTOCOLS, ListenerSettings, Network, ServerSettings
from posthorn_node.settings.stores import (
    BlobsSettings,
    KafkaStore,
    NatsStore,
    ShardSettings,
    StorageSettings,
)
from posthorn_node.settings.values import (
    Bind,
    Binds,
    Duration,
    EligibleNodes,
    Endpoint,
    Section,
    Size,
    parse_bind,
    parse_duration,
    parse_size,
    refused,
)
from posthorn_node.settings.web_push import WebPushSettings

__all__ = [
    "HTTP_PROTOCOLS",
    "AcmeSettings",
    "AuthSettings",
    "AzureStore",
    "BanSettings",
    "Bind",
    "Binds",
    "BlobStore",
    "BlobsSettings",
    "BusSaslSettings",
    "BusTlsSettings",
    "CertificateFiles",
    "CertificatesSettings",
    "ClusterSettings",
    "DkimSettings",
    "DmarcReportSettings",
    "DnsSettings",
    "Duration",
    "EabSettings",
    "EligibleNodes",
    "Endpoint",
    "FsStore",
    "KafkaSettings",
    "KafkaStore",
    "ListenerSettings",
    "LogSettings",
    "LookupStore",
    "MemoryStore",
    "MetricsSettings",
    "NatsSettings",
    "NatsStore",
    "Network",
    "NodeSettings",
    "OauthSettings",
    "PostgresStore",
    "Problem",
    "PushSettings",
    "Rate",
    "RedisServers",
    "RedisStore",
    "ReportsSettings",
    "ResolverSettings",
    "RocksStore",
    "RolesSettings",
    "S3Store",
    "Section",
    "ServerSettings",
    "ServerTlsSettings",
    "ServiceSettings",
    "SettingsError",
    "SettingsFile",
    "ShardSettings",
    "Size",
    "StorageSettings",
    "ThrottleSettings",
    "TlsReportSettings",
    "WebPushSettings",
    "known_keys",
    "load",
    "notices",
    "parse",
    "parse_bind",
    "parse_duration",
    "parse_rate",
    "parse_size",
    "processes_of",
    "refused",
    "shown",
    "validate",
]
