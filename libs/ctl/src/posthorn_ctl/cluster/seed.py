"""Gives a new cluster its schema, its domain and its demo accounts. What is there already is left as it is."""

from pathlib import Path

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.keepsakes import DOMAIN, Keepsakes
from posthorn_ctl.cluster.options import S3Place
from posthorn_model.errors import AlreadyExists, PosthornError
from posthorn_storage import Storage
from posthorn_storage.settings import FsSettings, S3Settings, StorageSettings
from posthorn_storage.version import is_migrated


def blob_settings(place: Path | S3Place, *, create: bool = False) -> FsSettings | S3Settings:
    """How the storage library opens the cluster's blobs."""
    if isinstance(place, Path):
        return FsSettings(place)
    return S3Settings(
        endpoint=place.endpoint,
        bucket=place.bucket,
        access_key=place.access_key,
        secret_key=place.secret_key,
        region=place.region,
        create_bucket=create,
    )


async def seed(dsn: str, blobs: Path | S3Place, shards: int, keepsakes: Keepsakes) -> None:
    """Migrate the database and make what was never made, noting it in `keepsakes`.

    An account of that name that somebody else made in a database of their own is left alone, and forgotten as a demo
    account. Raises ClusterError.
    """
    try:
        if not await is_migrated(dsn):
            from posthorn_storage.migrate import migrate  # loads Alembic: a second that later starts need not wait for

            await migrate(dsn)
        storage = await Storage.open(
            StorageSettings(dsn=dsn, blobs=blob_settings(blobs, create=True), pool_size=2, queue_shards=shards)
        )
        try:
            await _furnish(storage, keepsakes)
        finally:
            await storage.close()
    except PosthornError as error:
        raise ClusterError(f"the cluster's storage cannot be prepared: {error.public}") from error


async def _furnish(storage: Storage, keepsakes: Keepsakes) -> None:
    wanted = [address for address in keepsakes.accounts if address not in keepsakes.seeded]
    if not wanted:
        return
    await storage.directory.add_domain(DOMAIN, idempotent=True)
    for address in wanted:
        try:
            await storage.directory.add_account(address, keepsakes.accounts[address], address.partition("@")[0].title())
        except AlreadyExists:
            del keepsakes.accounts[address]
        keepsakes.seeded.append(address)
