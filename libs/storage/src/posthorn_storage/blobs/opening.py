"""Opens the object store that settings describe. What a store needs is imported only where it is opened."""

from posthorn_model.ports import ObjectStore
from posthorn_storage.settings import FsSettings, StoreSettings


async def open_store(settings: StoreSettings) -> ObjectStore:
    """Raises Unavailable, also when the package of a store is not installed."""
    if isinstance(settings, FsSettings):
        from posthorn_storage.blobs.file_store import FileStore

        return await FileStore.open(settings.path)
    from posthorn_storage.blobs.s3_store import S3Store

    return await S3Store.open(settings)
