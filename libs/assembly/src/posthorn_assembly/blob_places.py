"""From the words of the settings file to the stores of blobs. Values only; nothing is opened here."""

from posthorn_node import settings as node_settings
from posthorn_node.settings import NodeSettings
from posthorn_storage import BlobPlaces, FsSettings, S3Settings
from posthorn_storage.settings import AzureSettings, DiskCacheSettings, RocksSettings, StoreSettings


def blob_places(settings: NodeSettings) -> BlobPlaces:
    """Every store that may hold blobs, and which new ones go to. Raises SettingsError when one is missing."""
    stores = {name: _store(blob) for name, blob in settings.blob_stores().items()}
    cache = settings.storage.blobs.cache
    return BlobPlaces(
        stores,
        settings.storage.blob,
        settings.storage.tiers.cold,
        DiskCacheSettings(cache.path, cache.size) if cache.path is not None else None,
    )


def _store(blob: node_settings.BlobStore) -> StoreSettings:
    match blob:
        case node_settings.FsStore():
            return FsSettings(blob.path)
        case node_settings.S3Store():
            return _s3(blob)
        case node_settings.AzureStore():
            return _azure(blob)
        case node_settings.RocksStore():
            return RocksSettings(
                path=blob.path,
                compression=blob.compression,
                cache_bytes=blob.cache.size,
                background_jobs=blob.max_background_jobs,
                for_writes=blob.optimize.writes,
                for_reads=blob.optimize.reads,
            )


def _s3(blob: node_settings.S3Store) -> S3Settings:
    return S3Settings(
        endpoint=blob.endpoint,
        bucket=blob.bucket,
        access_key=blob.access_key,
        secret_key=blob.secret_key.get_secret_value(),
        region=blob.region,
        prefix=blob.prefix,
        connections=blob.connections,
        timeout=blob.timeout,
        create_bucket=True,
        storage_class=blob.storage_class,
    )


def _azure(blob: node_settings.AzureStore) -> AzureSettings:
    return AzureSettings(
        account=blob.account,
        container=blob.container,
        access_key=blob.access_key.get_secret_value(),
        endpoint=blob.endpoint,
        prefix=blob.prefix,
        connections=blob.connections,
        timeout=blob.timeout,
        create_container=True,
        storage_class=blob.storage_class,
    )
