"""Tables of the mail store, all keyed by account first.

Rules (design law 4):
  - `account_counter` is locked first in every transaction that changes anything else here; it is the one source of
    modseqs, and `mailbox.uidnext` (changed only under that lock) the one source of UIDs.
  - A modseq names one changed message (or one changed object of another kind), so a list of changes may be cut between
    any two of them; the mailboxes that one commit touched share its last modseq.
  - `message` rows are immutable but for `thread_id`; flags live in the narrow `mailbox_message` rows alone.
  - No foreign keys on the hot path: the statements of posthorn_storage.mail keep the tables consistent.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    Sequence,
    SmallInteger,
    Table,
    Text,
    func,
    text,
)
from sqlalchemy.dialects.postgresql import ARRAY

from posthorn_storage.schema.naming import metadata
from posthorn_storage.schema.upkeep import APPENDED, OFTEN_UPDATED, PASSING, SMALL_AND_HOT

account_counter = Table(
    "account_counter",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("modseq", BigInteger, nullable=False, server_default="1", comment="IMAP HIGHESTMODSEQ and JMAP state"),
    Column("horizon", BigInteger, nullable=False, server_default="0", comment="change_log is complete after this"),
    Column("uidvalidity", BigInteger, nullable=False, comment="the last one given to a mailbox of the account"),
    Column("used_bytes", BigInteger, nullable=False, server_default="0", comment="messages and groupware items"),
    Column("used_messages", BigInteger, nullable=False, server_default="0"),
    Column("quota", BigInteger, comment="bytes; NULL is without limit"),
    Column("state", SmallInteger, nullable=False, server_default="0", comment="0 live, 1 frozen, 2 lives elsewhere"),
    Column("move_epoch", BigInteger, comment="of who froze it"),
    Index("ix_account_counter_state", "account_id", postgresql_where=text("state <> 0")),
    postgresql_with=SMALL_AND_HOT,
)

mailbox_id = Sequence("mailbox_id", cache=32, metadata=metadata)

mailbox = Table(
    "mailbox",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("id", BigInteger, mailbox_id, server_default=mailbox_id.next_value(), primary_key=True),
    Column("parent_id", BigInteger, nullable=False, server_default="0", comment="0 at the top"),
    Column("name", Text, nullable=False, comment="one level"),
    Column("role", Text),
    Column("subscribed", Boolean, nullable=False, server_default=text("true")),
    Column("sort_order", Integer, nullable=False, server_default="0"),
    Column("uidvalidity", BigInteger, nullable=False),
    Column("uidnext", BigInteger, nullable=False, server_default="1"),
    Column("recent_uid", BigInteger, nullable=False, server_default="1", comment="first UID no session has seen"),
    Column("total", BigInteger, nullable=False, server_default="0"),
    Column("unseen", BigInteger, nullable=False, server_default="0"),
    Column("deleted", BigInteger, nullable=False, server_default="0"),
    Column("size", BigInteger, nullable=False, server_default="0"),
    Column("modseq", BigInteger, nullable=False, comment="of the latest change to it or to anything in it"),
    Index("uq_mailbox_name", "account_id", "parent_id", "name", unique=True),
    Index("uq_mailbox_role", "account_id", "role", unique=True, postgresql_where=text("role IS NOT NULL")),
    CheckConstraint("total >= 0 AND unseen >= 0 AND deleted >= 0 AND size >= 0", name="counts"),
    postgresql_with=OFTEN_UPDATED,
)

message_id = Sequence("message_id", cache=1, metadata=metadata)
"""Taken in blocks by each process (posthorn_storage.mail.identifiers), hence without a cache of its own."""

message = Table(
    "message",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("thread_id", BigInteger, nullable=False, comment="id of the message that opened the thread"),
    Column("blob_key", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("received_at", DateTime(timezone=True), nullable=False),
    Column("sent_at", DateTime(timezone=True)),
    Column("created_modseq", BigInteger, nullable=False),
    Column("has_attachment", Boolean, nullable=False),
    Column("message_id", Text, comment="Message-ID without angle brackets"),
    Column("subject", Text, nullable=False),
    Column("base_subject", Text, nullable=False, comment="RFC 5256 2.1"),
    Column("preview", Text, nullable=False),
    Column("envelope", LargeBinary, nullable=False),
    Column("body_structure", LargeBinary, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("structure", LargeBinary, nullable=False),
    Column("listing", LargeBinary, nullable=False),
    Column("headers", LargeBinary, nullable=False),
    Index("ix_message_thread", "account_id", "thread_id"),
    Index("ix_message_received", "account_id", "received_at"),
    postgresql_with=APPENDED,
)

mailbox_message = Table(
    "mailbox_message",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("mailbox_id", BigInteger, primary_key=True),
    Column("uid", BigInteger, primary_key=True, autoincrement=False),
    Column("message_id", BigInteger, nullable=False),
    Column("modseq", BigInteger, nullable=False),
    Column("size", BigInteger, nullable=False, comment="of the message, for counters and RFC822.SIZE"),
    Column("flags", SmallInteger, nullable=False, comment="posthorn_model.flags.SystemFlag"),
    Column("keywords", ARRAY(Text), nullable=False, server_default="{}", comment="lower case, sorted"),
    Column(
        "saved_at",
        DateTime(timezone=True),
        server_default=func.clock_timestamp(),
        comment="when it came here (RFC 8514); NULL: not known",
    ),
    Index("ix_mailbox_message_modseq", "account_id", "mailbox_id", "modseq"),
    Index("uq_mailbox_message_message", "account_id", "message_id", "mailbox_id", unique=True),
    postgresql_with=OFTEN_UPDATED,
)

message_text = Table(
    "message_text",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("from", Text, nullable=False, comment="this and the rest: lower case, for substring search"),
    Column("to", Text, nullable=False),
    Column("cc", Text, nullable=False),
    Column("bcc", Text, nullable=False),
    Column("subject", Text, nullable=False),
    Column("headers", Text, nullable=False, comment="name: value lines of the header fields often asked for"),
    Column("body", Text, nullable=False, comment="bounded"),
    postgresql_with=APPENDED,
)

thread_key = Table(
    "thread_key",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("key", LargeBinary, primary_key=True, comment="digest of a Message-ID and the base subject"),
    Column("thread_id", BigInteger, nullable=False),
    Index("ix_thread_key_thread", "account_id", "thread_id"),
)

change_log = Table(
    "change_log",
    metadata,
    Column("account_id", BigInteger, nullable=False),
    Column("kind", SmallInteger, nullable=False, comment="see KIND in posthorn_storage.mail.kinds"),
    Column("modseq", BigInteger, nullable=False),
    Column("seq", BigInteger, Identity(cache=1000), nullable=False),
    Column("object_id", BigInteger, nullable=False),
    Column("op", SmallInteger, nullable=False, comment="1 created, 2 updated, 3 destroyed, 4 counted"),
    Column("container_id", BigInteger, comment="mailbox of an expunged UID, collection of an item"),
    Column("uid", BigInteger, comment="expunged UID"),
    Column("name", Text, comment="of a removed item"),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    PrimaryKeyConstraint("account_id", "kind", "modseq", "seq"),
    Index(
        "ix_change_log_container",
        "account_id",
        "container_id",
        "modseq",
        postgresql_where=text("container_id IS NOT NULL"),
    ),
    Index("ix_change_log_age", "at"),
    postgresql_with=PASSING,
)

delivery_seen = Table(
    "delivery_seen",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("key", LargeBinary, primary_key=True, comment="'i' and a delivery id, or 'd' and a digest of the content"),
    Column("message_id", BigInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("ix_delivery_seen_at", "at"),
    postgresql_with=PASSING,
)

mailbox_metadata = Table(
    "mailbox_metadata",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("mailbox_id", BigInteger, primary_key=True, autoincrement=False, comment="0: the account as a whole"),
    Column("holder_id", BigInteger, primary_key=True, autoincrement=False, comment="whose private entry; 0: shared"),
    Column("entry", Text, primary_key=True, comment="lower case, with its slashes"),
    Column("value", LargeBinary, nullable=False),
)

shared_subscription = Table(
    "shared_subscription",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False, comment="who subscribed"),
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False),
    Column("mailbox_id", BigInteger, primary_key=True, autoincrement=False, comment="of the owner"),
)

url_key = Table(
    "url_key",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False, comment="who lends a right by URLs"),
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False),
    Column("mailbox_id", BigInteger, primary_key=True, autoincrement=False, comment="of the owner"),
    Column("key", LargeBinary, nullable=False),
)

mailbox_right = Table(
    "mailbox_right",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("mailbox_id", BigInteger, primary_key=True, autoincrement=False),
    Column("grantee_id", BigInteger, primary_key=True, autoincrement=False, comment="an account; 0: anyone"),
    Column("negative", Boolean, primary_key=True, comment="takes these rights away"),
    Column("rights", SmallInteger, nullable=False, comment="posthorn_model.rights.Right"),
    CheckConstraint("rights BETWEEN 1 AND 2047", name="rights"),
)
