"""Opens the object store that settings describe. What a store needs is imported only where it is opened."""

from posthorn_model.errors import Unavailable
from posthorn_model.ports import ObjectStore
from posthorn_storage.settings import AzureSettings, FsSettings, RocksSettings, S3Settings, StoreSettings


async def open_store(settings: StoreSettings) -> ObjectStore:
    """Raises Unavailable, also when the package of a store is not installed."""
    match settings:
        case FsSettings():
            from posthorn_storage.blobs.file_store import FileStore

            return await FileStore.open(settings.path)
        case S3Settings():
            from posthorn_storage.blobs.s3_store import S3Store

            return await S3Store.open(settings)
        case AzureSettings():
            try:
                from posthorn_storage.blobs.azure_store import AzureStore
            except ModuleNotFoundError as error:
                raise _not_installed("azure", "azure-storage-blob") from error
            return await AzureStore.open(settings)
        case RocksSettings():
            try:
                from posthorn_storage.blobs.rocks_store import RocksStore
            except ModuleNotFoundError as error:
                raise _not_installed("rocksdb", "rocksdict") from error
            return await RocksStore.open(settings)


def _not_installed(extra: str, package: str) -> Unavailable:
    return Unavailable(f"this blob store needs the package {package}: install posthorn-storage[{extra}]")
