"""Which role does what: the one place where jobs are put under roles. Schedules and cursors are the scheduler's."""

from collections.abc import Callable, Mapping, Sequence
from functools import partial

from posthorn_maintenance.jobs import purge_accounts, purge_stores
from posthorn_maintenance.jobs.acme import Acme
from posthorn_maintenance.jobs.calculate import ClusterFigures
from posthorn_maintenance.jobs.dkim import STEP_LIMIT, DkimRotation
from posthorn_maintenance.jobs.index_messages import Indexing
from posthorn_maintenance.jobs.job import Duty, Job, Tenure
from posthorn_maintenance.jobs.moves import MoveKeeper
from posthorn_maintenance.jobs.pieces import Piece, one_by_one
from posthorn_maintenance.jobs.push import MetricsPush
from posthorn_maintenance.jobs.scrub import BlobScrub
from posthorn_maintenance.jobs.web_push import WebPush
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_model.events import Control
from posthorn_node.metrics import Metrics
from posthorn_node.settings import AcmeSettings
from posthorn_storage import Storage

LOOK_AFTER_MOVES = 5.0
"""Often: an account whose move was cut short while it was frozen takes no mail until somebody has looked."""


def duties(
    metrics: Metrics,
    storage: Storage,
    settings: MaintenanceSettings,
    publish: Callable[[Control], None],
    providers: Mapping[str, AcmeSettings],
    dkim: DkimRotation,
    push: MetricsPush | None = None,
    reports: Sequence[Job] = (),
    web_push: WebPush | None = None,
) -> Mapping[str, Duty]:
    """Every role that this process can do. One that settings may name must be here, and the other way round.

    `providers` are the authorities that certificates are ordered of; `push` is None when the settings do not say where
    figures are pushed to, `reports` are for those that are to be sent, `web_push` when keys cannot be sealed.
    """
    removed = metrics.counter("purge_removed", "Rows removed by purge steps", ["step"])
    ran = metrics.gauge("purge_last_run_timestamp_seconds", "When a purge step last ended", ["step"])

    def done(step: str, count: int) -> None:
        removed.labels(step).inc(count)
        ran.labels(step).set_to_current_time()

    def purge(name: str, interval: float, pieces: Callable[[Tenure], Mapping[str, Piece]]) -> Job:
        return Job(name, interval, one_by_one(pieces, settings.purge_batch, done))

    moves = MoveKeeper(storage, publish)
    acme = Acme(storage, providers, metrics, publish)
    every = settings.purge_interval
    return {
        "purge.stores": Duty(
            jobs=[purge("purge", every, partial(purge_stores.pieces, storage, settings))],
            kept=[partial(BlobScrub(metrics).keep, storage, settings)],
        ),
        "purge.accounts": Duty(
            jobs=[
                purge("purge", every, partial(purge_accounts.pieces, storage, settings)),
                purge("moves", LOOK_AFTER_MOVES, moves.pieces),
            ]
        ),
        **({"acme.renew": Duty(jobs=[Job("certificates", settings.acme_interval, acme.step)])} if providers else {}),
        "dkim.rotate": Duty(jobs=[Job("keys", settings.dkim_interval, dkim.step, limit=STEP_LIMIT)]),
        "metrics.calculate": Duty(kept=[partial(ClusterFigures(metrics).keep, storage, settings.metrics_interval)]),
        **({"metrics.push": Duty(jobs=[push.job()])} if push is not None else {}),
        **({"reports.send": Duty(jobs=reports)} if reports else {}),
        "index.messages": Duty(kept=[partial(Indexing(metrics, settings).keep, storage.search)]),
        **({"push.send": Duty(kept=[web_push.keep])} if web_push is not None else {}),
    }


ROLES = (
    "purge.stores",
    "purge.accounts",
    "acme.renew",
    "dkim.rotate",
    "metrics.calculate",
    "metrics.push",
    "reports.send",
    "index.messages",
    "push.send",
)
"""Their names, in the order in which people are shown them."""
