"""purge.accounts: what has expired inside accounts, and the remains of deleted ones."""

from collections.abc import Mapping
from datetime import timedelta
from functools import partial

from posthorn_maintenance.jobs.steps import Step
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_storage import Fence, Storage


def steps(storage: Storage, fence: Fence, settings: MaintenanceSettings) -> Mapping[str, Step]:
    """Its steps: the change log behind its horizon, then what accounts held whose removal was cut short."""
    purge, batch = storage.purge, settings.purge_batch
    keep = timedelta(seconds=settings.keep_changes)
    return {
        "change-log": partial(purge.purge_changes, fence.epoch, keep, batch, most=settings.most_changes, key=fence.key),
        "deleted-accounts": partial(purge.purge_accounts, batch),
    }
