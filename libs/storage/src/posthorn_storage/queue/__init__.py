"""The outgoing queue: messages, recipients, attempts under leases, time lines."""

from posthorn_storage.queue.attempts import Attempts, Finish, Report, Start
from posthorn_storage.queue.listing import QueuedMessage, QueuedRecipient, QueueEvent, QueueFilter, ShardDepth
from posthorn_storage.queue.store import QueueStore

__all__ = [
    "Attempts",
    "Finish",
    "QueueEvent",
    "QueueFilter",
    "QueueStore",
    "QueuedMessage",
    "QueuedRecipient",
    "Report",
    "ShardDepth",
    "Start",
]
