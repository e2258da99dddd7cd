"""The outgoing queue: messages, recipients, attempts under leases, time lines, and what operators do to it."""

from posthorn_storage.queue.attempts import Attempts, Claim, Finish, Report, Start
from posthorn_storage.queue.listing import QueuedMessage, QueuedRecipient, QueueEvent, ShardDepth
from posthorn_storage.queue.operations import Action, Done, Meant, Operations
from posthorn_storage.queue.pauses import Pause, PauseStore, Scope
from posthorn_storage.queue.selection import QueueFilter, Standing
from posthorn_storage.queue.shares import Ask, Granted, ShareStore
from posthorn_storage.queue.spreads import SpreadStore
from posthorn_storage.queue.store import QueueStore
from posthorn_storage.queue.suppression import Suppression, SuppressionList
from posthorn_storage.queue.warm_up import Sent, WarmUpCounts
from posthorn_storage.queue.why import Explanation, SendingTerms, SiteTerms

__all__ = [
    "Action",
    "Ask",
    "Attempts",
    "Claim",
    "Done",
    "Explanation",
    "Finish",
    "Granted",
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
    "Sent",
    "ShardDepth",
    "ShareStore",
    "SiteTerms",
    "SpreadStore",
    "Standing",
    "Start",
    "Suppression",
    "SuppressionList",
    "WarmUpCounts",
]
