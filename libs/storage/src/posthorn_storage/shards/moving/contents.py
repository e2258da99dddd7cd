"""What moves with an account: every table of its rows, and how changes to them are found again while they are copied.

A test compares this with the schema: whoever adds a table keyed by account says here how it moves.
"""

from typing import Final, Literal, NamedTuple, TypeAlias

from posthorn_storage.codes import REF_MESSAGE

Named: TypeAlias = Literal["email", "thread", "item"]
"""Kinds of objects that the change log names whenever a row of theirs changes."""

BY_MESSAGE: Final = {
    "message": "id",
    "message_text": "message_id",
    "message_index": "message_id",
}
"""Tables with a row of a message, and the column with the message's id: the change log names what changed.

The index comes after the texts, whose coming empties it for them. It is there to be found by at once.
"""

MADE: Final = ("index_task",)
"""Made at the target by triggers: every message is indexed there again."""

WHOLE: Final = (
    "mailbox",
    "mailbox_metadata",
    "mailbox_right",
    "shared_subscription",
    "url_key",
    "collection",
    "identity",
    "email_submission",
    "sieve_script",
    "push_subscription",
)
"""Small tables, copied once more as a whole while the account is frozen."""

ENTRIES: Final = "mailbox_message"
LOGGED: Final = "change_log"
KEYS: Final = "thread_key"
SEEN: Final = "delivery_seen"
ITEMS: Final = "item"
REFERENCES: Final = "blob_ref"
COUNTER: Final = "account_counter"

MOVED: Final = frozenset({*BY_MESSAGE, ENTRIES, *MADE, *WHOLE, LOGGED, KEYS, SEEN, ITEMS, REFERENCES, COUNTER})

COMPARED: Final = {
    "message": "id, thread_id, blob_key, created_modseq, size",
    "message_text": "message_id",
    "mailbox_message": "mailbox_id, uid, message_id, modseq, flags, keywords, size",
    "mailbox": "*",
    "mailbox_metadata": "*",
    "mailbox_right": "*",
    "shared_subscription": "*",
    "url_key": "*",
    "collection": "*",
    "identity": "*",
    "email_submission": "id, message_id, thread_id, send_at",
    "sieve_script": "*",
    "push_subscription": "id, device_client_id, url, expires_at",
    "change_log": "kind, modseq, object_id, op, container_id, uid",
    "thread_key": "key, thread_id",
    "delivery_seen": "key, message_id",
    "item": "collection_id, name, id, etag, modseq",
    "blob_ref": "blob_key, kind, ref_id",
}
"""Columns whose values are compared, row by row, before the account is let live in its new place."""

OTHERS: Final = f"(kind < {REF_MESSAGE} OR kind > {REF_MESSAGE})"
"""References beside those of messages, said so that an index finds them."""
REPEATS: Final = r"key < '\x65'"
"""Digests of content in `delivery_seen` (keys that begin with "d"): no log says that one went as its reply arrived."""


class Owned(NamedTuple):
    """Rows that change only when the change log names their object: whose they are, by which column, and which."""

    named: Named
    column: str
    only: str = "true"


OWNED: Final = {
    "message": Owned("email", "id"),
    "message_text": Owned("email", "message_id"),
    ENTRIES: Owned("email", "message_id"),
    REFERENCES: Owned("email", "ref_id", f"kind = {REF_MESSAGE}"),
    KEYS: Owned("thread", "thread_id"),
    ITEMS: Owned("item", "id"),
    SEEN: Owned("email", "message_id", f"NOT {REPEATS}"),
}
"""With the log itself, the rows that are compared before the freeze and never again unless their object changes."""
