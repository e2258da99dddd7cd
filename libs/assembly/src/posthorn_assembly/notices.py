"""What every process tells the cluster and does when the cluster tells something: it drops what it remembers.

The directory may be changed by processes that are on no bus (`posthorn account ...`). Each change is counted in the
database, and every heartbeat of every process sees the number; who sees a new one first tells all.
"""

from dataclasses import dataclass

from structlog.typing import FilteringBoundLogger

from posthorn_assembly.certificates import CERTIFICATES, StoredCertificates
from posthorn_model.cluster import Standing
from posthorn_model.events import Control, Gap, NodeNotice, Topic
from posthorn_model.ids import AccountId, NodeId
from posthorn_model.ports import Bus
from posthorn_storage import Storage

INVALIDATE_DIRECTORY = "invalidate-directory"
"""With the number of changes that were counted as `changes`; without it, whatever is remembered is dropped."""
ACCOUNT_MOVED = "account-moved"
"""With the account's id as `account`: it lives on another shard now."""


@dataclass(slots=True)
class DirectoryWatch:
    """Drops what this process remembers of the directory as soon as it hears of a change, from whomever."""

    storage: Storage
    bus: Bus
    log: FilteringBoundLogger
    known: int
    """How many changes have been heard of."""

    def beaten(self, standing: Standing) -> None:
        """The own heartbeat saw how many changes there were."""
        if standing.directory > self.known:
            self._look_again(standing.directory)
            self.bus.publish(Control(INVALIDATE_DIRECTORY, {"changes": standing.directory}))

    def heard(self, event: Control) -> None:
        """Another process saw a change first, or an operator wants everything dropped."""
        changes = event.detail.get("changes")
        if not isinstance(changes, int) or isinstance(changes, bool):
            self.forget()
        elif changes > self.known:
            self._look_again(changes)

    def forget(self) -> None:
        """Drop everything."""
        self.storage.directory.forget()
        self.log.debug("directory forgotten")

    def _look_again(self, changes: int) -> None:
        self.known = changes
        self.storage.directory.look_again()
        self.log.debug("directory changed", changes=changes)


@dataclass(frozen=True, slots=True)
class NodeVoice:
    """Tells what this process does: "joined", "draining" or "left"."""

    bus: Bus
    node: NodeId
    service: str

    def say(self, state: str) -> None:
        """Publish it; never blocks or raises."""
        self.bus.publish(NodeNotice(self.node, self.service, state))


async def follow_notices(
    bus: Bus, storage: Storage, certificates: StoredCertificates, directory: DirectoryWatch
) -> None:
    """Hear the control topic for ever; after a gap everything remembered is dropped (flows B)."""
    async for event in bus.subscribe(Topic.CONTROL):
        if isinstance(event, Gap) or (isinstance(event, Control) and event.name == CERTIFICATES):
            certificates.heard()
        if isinstance(event, Gap):
            directory.forget()
        elif isinstance(event, Control) and event.name == INVALIDATE_DIRECTORY:
            directory.heard(event)
        elif isinstance(event, Control) and event.name == ACCOUNT_MOVED:
            moved = event.detail.get("account")
            if isinstance(moved, int):
                storage.forget_placement(AccountId(moved))
