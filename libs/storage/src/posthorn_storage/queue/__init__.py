"""The outgoing queue: messages, recipients, attempts under leases, time lines, and what operators do to it."""

from posthorn_storage.queue.attempts import Attempts, Finish, Report, Start
from posthorn_storage.queue.listing import QueuedMessage, QueuedRecipient, QueueEvent, ShardDepth
from posthorn_storage.queue.operations import Action, Done, Meant, Operations
from posthorn_storage.queue.pauses import Pause, PauseStore, Scope
from posthorn_storage.queue.selection import QueueFilter, Standing
from posthorn_storage.queue.store import QueueStore
from posthorn_storage.queue.suppression import Suppression, SuppressionList
from posthorn_storage.queue.why import Explanation, SendingTerms

__all__ = [
    "Action",
    "Attempts",
    "Done",
    "Explanation",
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
    "SendingTerms",
    "ShardDepth",
    "Standing",
    "Start",
    "Suppression",
    "SuppressionList",
]
