"""Numbers that columns hold, by their names. Apart from the schema: services need these, and not SQLAlchemy."""

PENDING, LIVE, DELETING = 0, 1, 2
"""States of a blob row: object perhaps not stored yet; durable; being removed."""

REF_MESSAGE, REF_QUEUE, REF_UPLOAD, REF_SCRIPT, REF_ITEM = 1, 2, 3, 4, 5
"""Kinds of reference: message.id, queue_message.id, 0 (an upload), a Sieve script's id, a groupware item's id."""

CREATED, UPDATED, DESTROYED, COUNTED = 1, 2, 3, 4
"""Values of change_log.op; COUNTED: nothing but the counters of a mailbox changed."""

LOCAL_SITE = "local"
"""The site of recipients that wait in the queue for a mailbox of the cluster."""
