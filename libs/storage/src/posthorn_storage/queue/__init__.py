"""The outgoing queue: messages, recipients, attempts under leases, time lines."""

from posthorn_storage.queue.listing import QueuedMessage, QueuedRecipient, QueueEvent, QueueFilter, ShardDepth
from posthorn_storage.queue.store import QueueStore

__all__ = ["QueueEvent", "QueueFilter", "QueueStore", "QueuedMessage", "QueuedRecipient", "ShardDepth"]
