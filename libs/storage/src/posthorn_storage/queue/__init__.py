"""The outgoing queue: messages, recipients, attempts under leases, time lines, and what operators do to it."""

from posthorn_storage.queue.attempts import Attempts, Finish, Report, Start
from posthorn_storage.queue.listing import QueuedMessage, QueuedRecipient, QueueEvent, ShardDepth
from posthorn_storage.queue.operations import Action, Done, Meant, Operations
from posthorn_storage.queue.pauses import Pause, PauseStore, Scope
from posthorn_storage.queue.selection import QueueFilter, Standing
from posthorn_storage.queue.store import QueueStore

__all__ = [
    "Action",
    "Attempts",
    "Done",
    "Finish",
    "Meant",
    "Operations",
    "Pause",
    "PauseStore",
    "QueueEvent",
    "QueueFilter",
    "QueueStore",
    "QueuedMessage",
    "QueuedRecipient",
    "Report",
    "Scope",
    "ShardDepth",
    "Standing",
    "Start",
]
