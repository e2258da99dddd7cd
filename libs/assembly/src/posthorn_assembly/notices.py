"""What every process does when the cluster tells something: forget what it knows of the directory, look again."""

from structlog.typing import FilteringBoundLogger

from posthorn_assembly.certificates import CERTIFICATES, StoredCertificates
from posthorn_model.events import Control, Gap, Topic
from posthorn_model.ids import AccountId
from posthorn_model.ports import Bus
from posthorn_storage import Storage

INVALIDATE_DIRECTORY = "invalidate-directory"
ACCOUNT_MOVED = "account-moved"
"""With the account's id as `account`: it lives on another shard now."""


async def follow_notices(
    bus: Bus, storage: Storage, certificates: StoredCertificates, log: FilteringBoundLogger
) -> None:
    """Hear the control topic for ever; after a gap everything remembered is dropped (flows B)."""
    async for event in bus.subscribe(Topic.CONTROL):
        if isinstance(event, Gap) or (isinstance(event, Control) and event.name == CERTIFICATES):
            certificates.heard()
        if isinstance(event, Gap) or (isinstance(event, Control) and event.name == INVALIDATE_DIRECTORY):
            storage.directory.forget()
            log.debug("directory forgotten", reason=type(event).__name__)
        elif isinstance(event, Control) and event.name == ACCOUNT_MOVED:
            moved = event.detail.get("account")
            if isinstance(moved, int):
                storage.forget_placement(AccountId(moved))
