"""purge.stores: what has expired in the shared tables and the blob store."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from posthorn_maintenance.jobs.steps import Step
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_storage import Fence, Storage


def steps(storage: Storage, fence: Fence, settings: MaintenanceSettings) -> Mapping[str, Step]:
    """Its steps, in their order: references first, then the blobs that nothing refers to any more (design law 3)."""
    purge, batch = storage.purge, settings.purge_batch
    history = timedelta(seconds=settings.keep_queue_history)
    dead = timedelta(seconds=settings.keep_dead_processes)
    return {
        "uploads": partial(purge.purge_uploads, batch),
        "delivery-repeats": partial(purge.purge_dedupe, batch),
        "lookups": partial(purge.purge_lookups, batch),
        "finished-queue": partial(purge.purge_queue_done, batch, keep=history),
        "shares": partial(purge.purge_shares, batch),
        "dead-processes": partial(purge.purge_processes, batch, older_than=dead),
        "blobs": partial(purge.purge_blobs, fence.epoch, batch, key=fence.key),
        "cold-blobs": partial(storage.blob_upkeep.move_to_cold, fence, batch),
        "moved-blobs": partial(storage.blob_upkeep.sweep, fence, batch),
    }
