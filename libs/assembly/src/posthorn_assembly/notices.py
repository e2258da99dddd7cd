"""What every process tells the cluster and does when the cluster tells something: it drops what it remembers.

The directory and the certificates may be changed by processes that are on no bus (`posthorn account ...`). Each change
is counted in the database, and every heartbeat of every process sees the number; who sees a new one first tells all.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from posthorn_model.events import Control, Gap, NodeNotice, Topic
from posthorn_model.ids import AccountId, NodeId
from posthorn_model.ports import Bus
from posthorn_storage import Storage

INVALIDATE_DIRECTORY = "invalidate-directory"
"""With the number of changes that were counted as `changes`; without it, whatever is remembered is dropped."""
CERTIFICATES = "certificates"
"""The same of the certificates in the database."""
BANS = "bans"
"""The same of the banned networks."""
ACCOUNT_MOVED = "account-moved"
"""With the account's id as `account`: it lives on another shard now."""
PUSH_WANTED = "push-wanted"
"""With the account's id as `account`: something is to be pushed to its subscriptions, though nothing of it changed."""


@dataclass(slots=True)
class ChangeWatch:
    """Looks again at what is remembered when a change is heard of, from whomever; tells the others if it is first."""

    event: str
    """The name of the Control event that tells of changes, with their number as `changes`."""
    bus: Bus
    known: int
    """How many changes have been heard of."""
    look_again: Callable[[], None]
    forget: Callable[[], None]
    """Whatever may have changed: drop all that is remembered."""

    def beaten(self, changes: int) -> None:
        """The own heartbeat saw how many changes there were."""
        if changes > self.known:
            self.known = changes
            self.look_again()
            self.bus.publish(Control(self.event, {"changes": changes}))

    def heard(self, event: Control) -> None:
        """Another process saw a change first, or wants everything dropped."""
        changes = event.detail.get("changes")
        if not isinstance(changes, int) or isinstance(changes, bool):
            self.forget()
        elif changes > self.known:
            self.known = changes
            self.look_again()


@dataclass(frozen=True, slots=True)
class NodeVoice:
    """Tells what this process does: "joined", "draining" or "left"."""

    bus: Bus
    node: NodeId
    service: str

    def say(self, state: str) -> None:
        """Publish it; never blocks or raises."""
        self.bus.publish(NodeNotice(self.node, self.service, state))


async def follow_notices(bus: Bus, storage: Storage, watches: Sequence[ChangeWatch]) -> None:
    """Hear the control topic for ever; after a gap everything remembered is dropped (flows B)."""
    named = {watch.event: watch for watch in watches}
    async for event in bus.subscribe(Topic.CONTROL):
        if isinstance(event, Gap):
            for watch in watches:
                watch.forget()
        elif isinstance(event, Control) and event.name in named:
            named[event.name].heard(event)
        elif isinstance(event, Control) and event.name == ACCOUNT_MOVED:
            moved = event.detail.get("account")
            if isinstance(moved, int):
                storage.forget_placement(AccountId(moved))
