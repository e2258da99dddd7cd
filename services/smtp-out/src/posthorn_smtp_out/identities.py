"""Delivery ids of what queue messages are delivered as: made of the message, so that a repeat is a no-op (law 7)."""

import uuid

from posthorn_model.ids import QueueMessageId

NAMESPACE = uuid.UUID("6f1b8a52-6a39-4e0a-9d0c-5b6b1f5f7a11")


def delivery_id(message: QueueMessageId, purpose: str = "local") -> uuid.UUID:
    """The delivery id of everything that one queue message is delivered as."""
    return uuid.uuid5(NAMESPACE, f"queue/{message}/{purpose}")
