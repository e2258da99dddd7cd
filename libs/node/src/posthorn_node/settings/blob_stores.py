"""Settings of the stores that blobs lie in: file system, S3, Azure, RocksDB."""

from pathlib import Path
from typing import Annotated, Literal, get_args

from pydantic import Field, SecretStr

from posthorn_node.settings.values import Duration, Section, Size

Connections = Annotated[int, Field(ge=1, le=256)]
Seconds = Annotated[Duration, Field(ge=1)]
Prefix = Annotated[str, Field(pattern=r"^[A-Za-z0-9._/-]{0,200}$")]


class FsStore(Section):
    """[store."NAME"] with type "fs": blobs as files; every node must see the same folder."""

    type: Literal["fs"]
    path: Path


class S3Store(Section):
    """[store."NAME"] with type "s3": blobs in a bucket of any server that speaks S3."""

    type: Literal["s3"]
    endpoint: Annotated[str, Field(pattern=r"^https?://[^\s/]+/?$")] = "https://s3.amazonaws.com"
    bucket: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]$")]
    region: str = "us-east-1"
    access_key: str = ""
    secret_key: SecretStr = SecretStr("")
    prefix: Prefix = ""
    storage_class: Annotated[str, Field(pattern=r"^[A-Z_]{0,32}$")] = ""
    connections: Connections = 16
    timeout: Seconds = 30.0


class AzureStore(Section):
    """[store."NAME"] with type "azure": blobs in a container of a storage account."""

    type: Literal["azure"]
    account: Annotated[str, Field(pattern=r"^[a-z0-9]{3,24}$")]
    container: Annotated[str, Field(pattern=r"^[a-z0-9](-?[a-z0-9]){2,62}$")]
    access_key: SecretStr
    endpoint: Annotated[str, Field(pattern=r"^(https?://\S+)?$")] = ""
    prefix: Prefix = ""
    storage_class: Literal["", "Hot", "Cool", "Cold", "Archive"] = ""
    connections: Connections = 16
    timeout: Seconds = 30.0


class RocksCacheSettings(Section):
    """Memory for what was read last."""

    size: Size = 32 * 1024 * 1024


class RocksOptimizeSettings(Section):
    """What RocksDB spends memory on."""

    reads: bool = False
    writes: bool = False


class RocksStore(Section):
    """[store."NAME"] with type "rocksdb": blobs in a folder of this machine that one process alone can open."""

    type: Literal["rocksdb"]
    path: Path
    compression: Literal["none", "lz4", "zstd"] = "none"
    cache: RocksCacheSettings = RocksCacheSettings()
    optimize: RocksOptimizeSettings = RocksOptimizeSettings()
    max_background_jobs: Annotated[int, Field(ge=1, le=256)] = 2


BlobStore = FsStore | S3Store | AzureStore | RocksStore
BLOB_KINDS = tuple(get_args(kind.model_fields["type"].annotation)[0] for kind in get_args(BlobStore))
"""The types of stores that may hold blobs."""
