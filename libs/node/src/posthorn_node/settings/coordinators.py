"""How nodes talk: the keys of a coordinator, in [cluster] and in a store of its own alike."""

from typing import Annotated, Literal, Self
from urllib.parse import SplitResult, unquote, urlsplit

from pydantic import BeforeValidator, Field, SecretStr, model_validator

from posthorn_node.settings.client_tls import ClientTlsSettings
from posthorn_node.settings.values import Duration, Endpoint, Section, one_or_more, refused

TopicPrefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""Kafka allows these letters in topic names; the rest of the 249 is left for what follows the prefix."""


class BusTlsSettings(ClientTlsSettings):
    """TLS towards Kafka or NATS."""

    enable: bool = False


class BusSaslSettings(Section):
    """SASL towards Kafka; no mechanism means none."""

    mechanism: Literal["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] | None = None
    username: str = ""
    password: SecretStr = SecretStr("")

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.mechanism and not (self.username and self.password.get_secret_value()):
            raise refused("a mechanism needs username and password", "mechanism")
        return self


class KafkaTopicsSettings(Section):
    """How topics are made; those that exist are left as they are, but for missing partitions."""

    partitions: Annotated[int, Field(ge=1, le=1000)] = 12
    """Of the topic of changes; those of the others follow from what they are for."""
    replication_factor: Annotated[int, Field(ge=1, le=15)] | None = None
    min_insync_replicas: Annotated[int, Field(ge=1, le=15)] | None = None
    retention: Annotated[Duration, Field(ge=60, le=30 * 86_400)] = 900.0

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.min_insync_replicas and self.min_insync_replicas > (self.replication_factor or 3):
            raise refused("cannot be more than replication-factor", "min-insync-replicas")
        return self


class KafkaSettings(Section):
    """How to reach the Kafka cluster; the same keys stand in [cluster] and in a store of type "kafka"."""

    bootstrap_servers: tuple[Endpoint, ...] = ()
    topic: TopicPrefix | None = None
    """Prefix of all topics; default: the cluster's name."""
    group_id: TopicPrefix | None = None
    """Prefix of all consumer groups; default: the cluster's name."""
    topics: KafkaTopicsSettings = KafkaTopicsSettings()
    tls: BusTlsSettings = BusTlsSettings()
    sasl: BusSaslSettings = BusSaslSettings()


NATS_PORT = 4222
_NATS_FORM = "must be nats://host:port, or tls://host:port, with user:password@ or token@ before the host where needed"


class NatsSettings(Section):
    """How to reach NATS; the same keys stand in [cluster] and in a store of type "nats"."""

    urls: Annotated[tuple[SecretStr, ...], BeforeValidator(one_or_more), Field(min_length=1, max_length=100)]
    """Secret as a whole, for a password may stand in each."""
    user: str = ""
    password: SecretStr = SecretStr("")
    token: SecretStr = SecretStr("")
    tls: BusTlsSettings = BusTlsSettings()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        urls = self._read()
        if len({url.scheme for url in urls}) > 1:
            raise refused("must all be nats://, or all tls://", "urls")
        if len({url.netloc.rpartition("@")[0] for url in urls}) > 1:
            raise refused("must all have the same login", "urls")
        user, password, token = self.user, self.password.get_secret_value(), self.token.get_secret_value()
        if urls[0].username and (user or password or token):
            raise refused("give the login either here or in the urls, not both", "urls")
        if token and (user or password):
            raise refused("give either a token, or user and password", "token")
        if bool(user) != bool(password):
            raise refused("user and password belong together", "password" if user else "user")
        if any((self.tls.ca, self.tls.cert, self.tls.key)) and not self.secured:
            raise refused("only used with tls:// in the urls, or enable = true", "tls")
        return self

    @property
    def secured(self) -> bool:
        """Whether TLS is spoken."""
        return self.tls.enable or self._read()[0].scheme == "tls"

    def servers(self) -> tuple[str, ...]:
        """The servers, "host:port"."""
        return tuple(
            f"[{url.hostname}]:{url.port or NATS_PORT}"
            if ":" in str(url.hostname)
            else f"{url.hostname}:{url.port or NATS_PORT}"
            for url in self._read()
        )

    def login(self) -> tuple[str, str, str]:
        """User, password and token; empty where there is none."""
        user, password = unquote(self._read()[0].username or ""), unquote(self._read()[0].password or "")
        if not user:
            return self.user, self.password.get_secret_value(), self.token.get_secret_value()
        return (user, password, "") if password else ("", "", user)

    def _read(self) -> list[SplitResult]:
        return [_nats_url(url.get_secret_value()) for url in self.urls]


def _nats_url(text: str) -> SplitResult:
    """Raises PydanticCustomError, whose text does not hold it."""
    try:
        url = urlsplit(text)
        usable = url.scheme in ("nats", "tls") and bool(url.hostname) and (url.port is None or url.port > 0)
    except ValueError:
        usable = False
    if not usable or url.path.strip("/") or url.query or url.fragment:
        raise refused(_NATS_FORM, "urls")
    return url
