"""The settings that all processes of a node share: every table of the file but the services' own."""

from typing import Annotated, Literal

from pydantic import Field

from posthorn_node.settings.acme import AcmeSettings
from posthorn_node.settings.arc import ArcSettings
from posthorn_node.settings.auth import AuthSettings
from posthorn_node.settings.blob_stores import BLOB_KINDS, BlobStore
from posthorn_node.settings.certificates import MIN_SECRET, CertificatesSettings
from posthorn_node.settings.cluster import ClusterSettings
from posthorn_node.settings.coordinators import KafkaSettings, NatsSettings
from posthorn_node.settings.dkim import DkimDomain, DkimSettings
from posthorn_node.settings.lookup_stores import LookupStore, RedisStore
from posthorn_node.settings.metrics_push import PushSettings
from posthorn_node.settings.postgres import PostgresStore
from posthorn_node.settings.problems import Problem, SettingsError
from posthorn_node.settings.redis_servers import RedisServers
from posthorn_node.settings.reports import ReportsSettings
from posthorn_node.settings.server import ListenerSettings, ServerSettings
from posthorn_node.settings.stores import COORDINATOR_KINDS, KafkaStore, NatsStore, StorageSettings, Store
from posthorn_node.settings.sub_addressing import SubAddressingSettings
from posthorn_node.settings.values import Bind, Duration, Endpoint, Section
from posthorn_node.settings.web_push import WebPushSettings


class MetricsSettings(Section):
    """[metrics]: where each process answers /metrics, /health/live and /health/ready."""

    enable: bool = True
    type: Literal["prometheus"] = "prometheus"
    bind: Bind = "0.0.0.0:9090"
    binds: dict[str, Bind] = Field(default_factory=dict)
    """By service's name, for several processes that share one file."""
    push: PushSettings = PushSettings()

    def bind_for(self, service: str) -> str:
        return self.binds.get(service, self.bind)


class LogSettings(Section):
    """[log]: "auto" is coloured text on a terminal and JSON elsewhere."""

    level: Literal["debug", "info", "warning", "error"] = "info"
    format: Literal["auto", "json", "console"] = "auto"


class ResolverSettings(Section):
    """[resolver]: DNS servers for mail routing and checks; none means the system's."""

    servers: tuple[Endpoint, ...] = ()
    timeout: Annotated[Duration, Field(gt=0)] = 5.0
    dnssec: bool = False
    """The servers validate, and nobody between them and this node can change what they answer."""


class NodeSettings(Section):
    """Everything outside the services' own tables."""

    acme: Annotated[dict[str, AcmeSettings], Field(max_length=1000)] = Field(default_factory=dict)
    arc: ArcSettings = ArcSettings()
    auth: AuthSettings = AuthSettings()
    certificates: CertificatesSettings = CertificatesSettings()
    cluster: ClusterSettings = ClusterSettings()
    dkim: Annotated[dict[DkimDomain, DkimSettings], Field(max_length=10_000)] = Field(default_factory=dict)
    server: ServerSettings = Field(default_factory=ServerSettings)
    storage: StorageSettings = StorageSettings()
    store: dict[str, Store] = Field(default_factory=dict)
    metrics: MetricsSettings = MetricsSettings()
    log: LogSettings = LogSettings()
    reports: ReportsSettings = ReportsSettings()
    resolver: ResolverSettings = ResolverSettings()
    sub_addressing: SubAddressingSettings = SubAddressingSettings()
    web_push: WebPushSettings = WebPushSettings()

    def data_store(self) -> PostgresStore:
        """The store named by storage.data. Raises SettingsError when there is none."""
        store = self.store.get(self.storage.data)
        if not isinstance(store, PostgresStore):
            raise _no_store("storage.data", self.storage.data, "postgresql")
        return store

    def shard_stores(self) -> dict[str, PostgresStore]:
        """The stores named by storage.shards beside the data store. Raises SettingsError when one is missing."""
        found = {}
        for name in self.storage.shards:
            store = self.store.get(name)
            if not isinstance(store, PostgresStore):
                raise _no_store(f"storage.shards.{name}", name, "postgresql")
            if name != self.storage.data:
                found[name] = store
        return found

    def blob_stores(self) -> dict[str, BlobStore]:
        """Every store that may hold blobs, those of storage.blob first. Raises SettingsError when one is missing."""
        found = {name: store for name, store in self.store.items() if isinstance(store, BlobStore)}
        for name in self.storage.blob:
            if name not in found:
                raise _no_store("storage.blob", name, " or ".join(BLOB_KINDS))
        return {name: found[name] for name in dict.fromkeys([*self.storage.blob, *found])}

    def lookup_store(self) -> LookupStore | None:
        """The store named by storage.lookup; None when that is the data store. Raises SettingsError."""
        name = self.storage.lookup
        store = self.store.get(name)
        if isinstance(store, LookupStore):
            return store
        if name not in ("", self.storage.data):
            raise _no_store("storage.lookup", name, "redis or memory")
        return None

    def coordinator(self) -> KafkaSettings | NatsSettings | RedisServers | None:
        """What to coordinate by; None for peer to peer.

        Raises SettingsError when the named store is none that can.
        """
        cluster = self.cluster
        if cluster.type is not None:
            return cluster if cluster.type == "kafka" else cluster.nats() or cluster.redis()
        if cluster.coordinator == "peer-to-peer":
            return None
        named = self.store.get(cluster.coordinator)
        if not isinstance(named, KafkaStore | NatsStore | RedisStore):
            raise _no_store("cluster.coordinator", cluster.coordinator, " or ".join(COORDINATOR_KINDS))
        return named

    def sealing_secrets(self) -> tuple[str, ...]:
        """The secrets that keys in the database are sealed under: the first seals, all of them open.

        `cluster.secret` stands in for `certificates.secret`, unless it is too short; there may be none.
        """
        cluster = self.cluster.secret.get_secret_value()
        shared = cluster if len(cluster) >= MIN_SECRET else ""
        former = [each.get_secret_value() for each in self.certificates.former_secrets]
        wanted = [self.certificates.secret.get_secret_value() or shared, *former, shared]
        return tuple(secret for secret in dict.fromkeys(wanted) if secret)

    def listeners(self, *protocols: str) -> list[ListenerSettings]:
        """The listeners that speak one of these protocols, in the file's order."""
        return [listener for listener in self.server.listener.values() if listener.protocol in protocols]


def _no_store(key: str, name: str, kind: str) -> SettingsError:
    return SettingsError([Problem("settings", 0, key, f'there is no [store."{name}"] of type {kind}')])
