"""What every process does when the cluster tells something: drop what it remembers of the directory."""

from structlog.typing import FilteringBoundLogger

from posthorn_model.events import Control, Gap, Topic
from posthorn_model.ports import Bus
from posthorn_storage import Storage

INVALIDATE_DIRECTORY = "invalidate-directory"


async def follow_notices(bus: Bus, storage: Storage, log: FilteringBoundLogger) -> None:
    """Hear the control topic for ever; after a gap everything remembered is dropped (flows B)."""
    async for event in bus.subscribe(Topic.CONTROL):
        if isinstance(event, Gap) or (isinstance(event, Control) and event.name == INVALIDATE_DIRECTORY):
            storage.directory.forget()
            log.debug("directory forgotten", reason=type(event).__name__)
