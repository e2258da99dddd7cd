"""purge.stores, beside its steps: reads every blob again, slowly, and looks for objects that no database names."""

from structlog.typing import FilteringBoundLogger

from posthorn_maintenance.jobs.job import Tenure
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_model.errors import PosthornError
from posthorn_node.metrics import Metrics
from posthorn_storage import Fence, Storage

BATCH = 20
"""Blobs read in one step, and objects looked up in one."""


class BlobScrub:
    """What was looked at and found, as metrics; what was found is in the log too."""

    def __init__(self, metrics: Metrics) -> None:
        self._looked_at = metrics.counter("blob_scrub_looked_at", "Blobs and objects that were looked at", ["walk"])
        self._found = metrics.counter("blob_scrub_found", "Blobs and objects that are not as they should be", ["what"])
        self._rounds = metrics.counter("blob_scrub_rounds", "Times that everything was looked at", ["walk"])

    async def keep(self, storage: Storage, settings: MaintenanceSettings, tenure: Tenure) -> None:
        """Step by step at the settings' rate while the role is held; each holder goes on where the last one was.

        Of several shares of the role the first one does it.
        """
        while settings.scrub_rate and tenure.share.part == 0 and not tenure.ending:
            looked_at, ended = 0, False
            try:
                if tenure.lease.may_start():
                    looked_at, ended = await self._step(storage, tenure.fence, settings, tenure.log)
            except PosthornError as error:
                tenure.log.warning("blobs not looked at, tried again", reason=error.public)
            # Nothing left to look at in this round: the next one can wait as long as a purge does.
            await tenure.pause(settings.purge_interval if ended or not looked_at else looked_at / settings.scrub_rate)

    async def _step(
        self, storage: Storage, fence: Fence, settings: MaintenanceSettings, log: FilteringBoundLogger
    ) -> tuple[int, bool]:
        scrubbed = await storage.blob_upkeep.scrub(fence, BATCH)
        self._looked_at.labels("blobs").inc(scrubbed.looked_at)
        for finding in scrubbed.findings:
            self._found.labels(finding.rule.name).inc()
            log.error(finding.rule.means, rule=finding.rule.name, **finding.where)
        searched = await storage.blob_upkeep.find_orphans(
            fence, BATCH, age=settings.orphan_age, remove=settings.remove_orphans
        )
        self._looked_at.labels("objects").inc(searched.looked_at)
        self._found.labels("orphan").inc(len(searched.orphans))
        self._found.labels("foreign").inc(searched.foreign)
        for key in searched.orphans:
            log.warning("an object that no database names", object=key.hex(), removed=settings.remove_orphans)
        for walk, ended in (("blobs", scrubbed.ended), ("objects", searched.ended)):
            if ended:
                self._rounds.labels(walk).inc()
        return scrubbed.looked_at + searched.looked_at, scrubbed.ended and searched.ended
