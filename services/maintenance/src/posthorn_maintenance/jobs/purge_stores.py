"""purge.stores: what has expired in the shared tables and the blob stores."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from posthorn_maintenance.jobs.job import Tenure
from posthorn_maintenance.jobs.pieces import Piece
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_storage import Storage


def pieces(storage: Storage, settings: MaintenanceSettings, tenure: Tenure) -> Mapping[str, Piece]:
    """Those of the tenure's share, in their order: references first, then blobs nothing refers to (design law 3).

    What is done on each database is a piece for each ("blobs@2"); pieces are dealt out to the shares one by one.
    """
    fence, purge, upkeep, batch = tenure.fence, storage.purge, storage.blob_upkeep, settings.purge_batch
    history = timedelta(seconds=settings.keep_queue_history)
    dead = timedelta(seconds=settings.keep_dead_processes)
    found: dict[str, Piece] = {
        "lookups": partial(purge.purge_lookups, batch, fence=fence),
        "finished-queue": partial(purge.purge_queue_done, batch, keep=history, fence=fence),
        "shares": partial(purge.purge_shares, batch, fence=fence),
        "dead-processes": partial(purge.purge_processes, batch, older_than=dead, fence=fence),
    }
    databases = range(purge.databases)
    for on in databases:
        found[f"uploads@{on}"] = partial(purge.purge_uploads, batch, fence=fence, on=on)
        found[f"delivery-repeats@{on}"] = partial(purge.purge_dedupe, batch, fence=fence, on=on)
    for on in databases:
        found[f"blobs@{on}"] = partial(purge.purge_blobs, fence.epoch, batch, key=fence.key, on=on)
        found[f"cold-blobs@{on}"] = partial(upkeep.move_to_cold, fence, batch, on=on)
        found[f"moved-blobs@{on}"] = partial(upkeep.sweep, fence, batch, on=on)
    return {name: piece for number, (name, piece) in enumerate(found.items()) if tenure.share.has(number)}
