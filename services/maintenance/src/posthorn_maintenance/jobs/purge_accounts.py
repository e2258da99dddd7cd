"""purge.accounts: what has expired inside accounts, and the remains of deleted ones."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from posthorn_maintenance.jobs.job import Tenure
from posthorn_maintenance.jobs.pieces import Piece
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_storage import Storage


def pieces(storage: Storage, settings: MaintenanceSettings, tenure: Tenure) -> Mapping[str, Piece]:
    """For the accounts of the tenure's share: changes behind the horizon, push subscriptions, removals cut short."""
    fence, purge, batch = tenure.fence, storage.purge, settings.purge_batch
    keep = timedelta(seconds=settings.keep_changes)
    return {
        "change-log": partial(
            purge.purge_changes,
            fence.epoch,
            keep,
            batch,
            most=settings.most_changes,
            key=fence.key,
            share=tenure.share,
        ),
        "push-subscriptions": partial(purge.purge_pushes, batch, fence=fence, share=tenure.share),
        "deleted-accounts": partial(purge.purge_accounts, batch, fence=fence, share=tenure.share),
    }
