"""How nodes talk: the keys of a coordinator, in [cluster] and in a store of its own alike."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, SecretStr, model_validator

from posthorn_node.settings.values import Endpoint, Section, refused

TopicPrefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9._-]{1,100}$")]
"""Kafka allows these letters in topic names; the rest of the 249 is left for what follows the prefix."""


class BusTlsSettings(Section):
    """TLS towards Kafka. Without `ca` the system's authorities are trusted."""

    enable: bool = False
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None

    @model_validator(mode="after")
    def _pair(self) -> Self:
        if (self.cert is None) != (self.key is None):
            raise refused("a client certificate needs both cert and key", "key" if self.cert else "cert")
        return self


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


class KafkaSettings(Section):
    """How to reach the Kafka cluster; the same keys stand in [cluster] and in a store of type "kafka"."""

    bootstrap_servers: tuple[Endpoint, ...] = ()
    topic: TopicPrefix | None = None
    """Prefix of all topics; default: the cluster's name."""
    group_id: TopicPrefix | None = None
    """Prefix of all consumer groups; default: the cluster's name."""
    tls: BusTlsSettings = BusTlsSettings()
    sasl: BusSaslSettings = BusSaslSettings()
