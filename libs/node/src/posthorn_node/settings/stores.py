"""Settings of [storage] and of stores: Kafka and NATS here, others in modules of their own."""

from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from posthorn_node.settings.blob_stores import BlobStore
from posthorn_node.settings.coordinators import KafkaSettings, NatsSettings
from posthorn_node.settings.lookup_stores import LookupStore
from posthorn_node.settings.postgres import PostgresStore
from posthorn_node.settings.values import Duration, Endpoint, Section, Size, one_or_more, refused


class KafkaStore(KafkaSettings):
    """[store."NAME"] with type "kafka": named by cluster.coordinator."""

    type: Literal["kafka"]
    bootstrap_servers: Annotated[tuple[Endpoint, ...], Field(min_length=1)]


class NatsStore(NatsSettings):
    """[store."NAME"] with type "nats": named by cluster.coordinator."""

    type: Literal["nats"]


COORDINATOR_KINDS = ("kafka", "nats", "redis")
"""The types of stores that cluster.coordinator may name."""

Store = Annotated[PostgresStore | BlobStore | KafkaStore | NatsStore | LookupStore, Field(discriminator="type")]


class BlobCacheSettings(Section):
    """[storage.blobs.cache]: what was read lately, in the memory of each process and on the disk of each node."""

    memory: Size = 64 * 1024 * 1024
    path: Path | None = None
    size: Annotated[Size, Field(ge=16 * 1024 * 1024)] = 1024 * 1024 * 1024


class BlobsSettings(Section):
    """[storage.blobs]: which blobs stay in the database, how they are packed, when unreferenced ones may go."""

    inline_limit: Size = 16384
    compression: Literal["zstd", "lz4", "none"] = "zstd"
    grace: Duration = 3600.0
    cache: BlobCacheSettings = BlobCacheSettings()


class TiersSettings(Section):
    """[storage.tiers]: blobs of a certain age are moved to the cold store."""

    cold: str = ""
    after: Annotated[Duration, Field(ge=3600)] = 30 * 86_400.0


AddressOrDomain = Annotated[str, Field(pattern=r"^[^@\s]*@[^@\s]+$")]
"""ann@example.org, or all of "@example.org"."""


class ShardSettings(Section):
    """[storage.shards."NAME"]: accounts live on the store NAME (type postgresql) too; which new ones go there."""

    range: Annotated[str, Field(pattern=r"^([a-z0-9]{1,20}-[a-z0-9]{1,20})?$")] = ""
    pin: tuple[AddressOrDomain, ...] = ()
    weight: Annotated[int, Field(ge=0, le=1000)] = 0
    blob: Annotated[tuple[str, ...], BeforeValidator(one_or_more)] = ()
    """Its own stores of blobs; none: those of storage.blob."""

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        first, last = self.bounds()
        if first > last:
            raise refused('must name the first before the last, such as "a-m"', "range")
        return self

    def bounds(self) -> tuple[str, str]:
        """The first and the last name of the range, both empty without one."""
        first, _, last = self.range.partition("-")
        return first, last


Language = Literal[
    "arabic", "danish", "dutch", "english", "finnish", "french", "german", "greek", "hungarian", "indonesian", "irish",
    "italian", "lithuanian", "norwegian", "portuguese", "romanian", "russian", "spanish", "swedish", "turkish",
]  # fmt: skip
"""Those whose word forms PostgreSQL 15 knows."""


class SearchSettings(Section):
    """[storage.search]: in whose languages a search by words knows the forms of a word."""

    languages: Annotated[tuple[Language, ...], Field(max_length=20)] = (
        "english", "german", "french", "spanish", "italian", "portuguese", "dutch", "russian", "swedish", "danish",
        "norwegian", "finnish", "hungarian", "turkish", "greek",
    )  # fmt: skip
    """Looked for in messages that do not tell their language."""
    default_language: Language | Literal["simple"] = "english"
    """Where none can be told; "simple": words as they stand."""


class StorageSettings(Section):
    """[storage]: which store keeps what. fts and directory are in the data store, as lookup is by default."""

    data: str = "postgres"
    blob: Annotated[tuple[str, ...], BeforeValidator(one_or_more), Field(min_length=1)] = ("fs",)
    """New blobs are spread over these by their hash."""
    fts: str = ""
    lookup: str = ""
    directory: str = "internal"
    blobs: BlobsSettings = BlobsSettings()
    tiers: TiersSettings = TiersSettings()
    shards: dict[str, ShardSettings] = Field(default_factory=dict)
    residency: dict[str, tuple[AddressOrDomain, ...]] = Field(default_factory=dict)
    """By region: whose new accounts are pinned to it."""
    search: SearchSettings = SearchSettings()
