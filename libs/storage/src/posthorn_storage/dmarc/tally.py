"""Sums observations of DMARC up for the reports of their domains."""

from typing import Protocol

from posthorn_model.dmarc import DmarcObservation
from posthorn_storage.dmarc.store import Counts
from posthorn_storage.tally import Tally


class Recorder(Protocol):
    """Where sums go: DmarcStore."""

    async def record(self, counts: Counts) -> None: ...


class DmarcTally(Tally[DmarcObservation]):
    """One for a process. `dropped` counts observations that are in no report."""

    def __init__(self, store: Recorder) -> None:
        super().__init__(store.record)

    def add(self, observation: DmarcObservation) -> None:
        """Count a message. Never blocks; domains that want no reports are not counted."""
        if observation.published.reports_to:
            self.count(observation)
