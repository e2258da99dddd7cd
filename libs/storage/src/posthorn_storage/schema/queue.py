"""Tables of the outgoing queue: immutable messages, narrow recipient rows, and a time line of what happened."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    Uuid,
    func,
)

from posthorn_storage.schema.naming import metadata
from posthorn_storage.schema.upkeep import PASSING, QUEUED, SMALL_AND_HOT

OPEN = "due IS NOT NULL"
"""What an owner of a shard still has to do. Not by its state: an update of what an index names writes all indexes."""

queue_message = Table(
    "queue_message",
    metadata,
    Column("id", BigInteger, Identity(cache=32), primary_key=True),
    Column("sender", Text, nullable=False, comment="MAIL FROM; empty is the null reverse-path"),
    Column("blob_key", LargeBinary, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("account_id", BigInteger, comment="who submitted it; NULL for relayed mail and bounces"),
    Column("smtputf8", Boolean, nullable=False),
    Column("eight_bit", Boolean, nullable=False),
    Column("ret", Text),
    Column("envid", Text),
    Column("delivery_id", Uuid, unique=True, comment="makes a repeated enqueue a no-op"),
    Column("signing_domain", Text, comment="whose DKIM keys sign it; NULL: none"),
    Column("deliver_by", DateTime(timezone=True), comment="RFC 2852; NULL: no such time"),
    Column("by_mode", Text, comment="R or N, and T behind it for trace"),
    Column("require_tls", Boolean, nullable=False, server_default="false", comment="RFC 8689"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("done_at", DateTime(timezone=True), comment="no recipient is open any more; the blob reference is gone"),
    Index("ix_queue_message_done_at", "done_at", postgresql_where="done_at IS NOT NULL"),
    postgresql_with=PASSING,
)

queue_recipient = Table(
    "queue_recipient",
    metadata,
    Column("id", BigInteger, Identity(cache=32), primary_key=True),
    Column("message_id", BigInteger, ForeignKey("queue_message.id", ondelete="CASCADE"), nullable=False),
    Column("shard", SmallInteger, nullable=False),
    Column("due", DateTime(timezone=True), comment="NULL: nothing will be tried any more"),
    Column("state", SmallInteger, nullable=False, comment="posthorn_model.queue_items.RecipientState"),
    Column("attempt", SmallInteger, nullable=False, server_default="0"),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="of the owner of the last attempt"),
    Column("since", DateTime(timezone=True), comment="in flight since"),
    Column("doubts", SmallInteger, nullable=False, server_default="0", comment="attempts that ended unknown"),
    Column("site", Text, nullable=False),
    Column("address", Text, nullable=False),
    Column("notify", Text),
    Column("orcpt", Text),
    Column("status", Text, nullable=False, server_default="", comment="enhanced status code of the last attempt"),
    Column("reply", Text, nullable=False, server_default="", comment="last reply, one line, bounded"),
    Column("priority", SmallInteger, nullable=False, server_default="0", comment="RFC 6710; the highest goes first"),
    Column("noticed", Boolean, nullable=False, server_default="false", comment="told that deliver_by is over"),
    Column("parked", BigInteger, comment="what stops it: 0 an operator, else a queue_pause; NULL: nothing"),
    Column("resume_due", DateTime(timezone=True), comment="due, before it was stopped"),
    Column("notices", SmallInteger, nullable=False, server_default="0", comment="of delay, sent"),
    CheckConstraint("state BETWEEN 0 AND 4", name="state"),
    CheckConstraint("due IS NOT NULL OR state > 1", name="due"),
    Index("ix_queue_recipient_open", "shard", "due", postgresql_where=OPEN),
    Index("ix_queue_recipient_open_priority", "shard", "priority", "due", postgresql_where=f"{OPEN} AND priority <> 0"),
    Index("ix_queue_recipient_parked", "parked", postgresql_where="parked IS NOT NULL"),
    Index(None, "message_id"),
    postgresql_with=QUEUED,
)

queue_event = Table(
    "queue_event",
    metadata,
    Column("id", BigInteger, Identity(cache=32), primary_key=True),
    Column(
        "message_id", BigInteger, nullable=False
    ),  # a trigger on queue_message removes the events of what is deleted
    Column("recipient_id", BigInteger, comment="NULL: concerns the whole message"),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.clock_timestamp()),
    Column("kind", Text, nullable=False, comment="queued, in-doubt, delivered, deferred, failed, cancelled, retry"),
    Column("attempt", SmallInteger, nullable=False, server_default="0"),
    Column("epoch", BigInteger, nullable=False, server_default="0"),
    Column("status", Text, nullable=False, server_default=""),
    Column("reply", Text, nullable=False, server_default=""),
    Column("remote", Text, nullable=False, server_default=""),
    Column("tls", Text),
    Column("reply_class", Text, nullable=False, server_default="", comment="of a refusal: mailbox-full, spam ..."),
    Column("owner", Text, nullable=False, server_default="", comment="of the lease: the boot id of a process"),
    Index(None, "message_id"),
    postgresql_with=PASSING,
)

queue_pause = Table(
    "queue_pause",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("scope", Text, nullable=False, comment="everything, site, route"),
    Column("name", Text, nullable=False, comment="of the site or the route; empty for everything"),
    Column("reason", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("until", DateTime(timezone=True), comment="NULL: until it is lifted"),
    Column("lifted_at", DateTime(timezone=True), comment="over; goes when it stops no recipient any more"),
    CheckConstraint("scope IN ('everything', 'site', 'route')", name="scope"),
    Index("ix_queue_pause_standing", "scope", "name", unique=True, postgresql_where="lifted_at IS NULL"),
)

queue_suppression = Table(
    "queue_suppression",
    metadata,
    Column("address", Text, primary_key=True, comment="of the recipient, in lower case"),
    Column("scope", Text, primary_key=True, comment="domain or address of the sender; empty: everybody"),
    Column("source", Text, nullable=False, comment="bounce, complaint, operator"),
    Column("reason", Text, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("until", DateTime(timezone=True), comment="NULL: until it is removed"),
    CheckConstraint("source IN ('bounce', 'complaint', 'operator')", name="source"),
    Index("ix_queue_suppression_until", "until", postgresql_where="until IS NOT NULL"),
)

queue_spread = Table(
    "queue_spread",
    metadata,
    Column("site", Text, primary_key=True),
    Column("home", SmallInteger, nullable=False, comment="the shard whose owner alone writes this row"),
    Column("spread", SmallInteger, nullable=False, comment="in how many shards, from home on"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("spread > 1", name="spread"),
    Index(None, "home"),
)

queue_share = Table(
    "queue_share",
    metadata,
    Column("name", Text, primary_key=True, comment="of the site or relay whose limit is shared out"),
    Column("holder", Text, primary_key=True, comment="the boot id of a process"),
    Column("connections", Integer, nullable=False, comment="that the holder may have open"),
    Column("wanted", Integer, nullable=False, comment="that the holder has work for"),
    Column("until", DateTime(timezone=True), nullable=False, comment="nobody's after it"),
    postgresql_with=SMALL_AND_HOT,
)

queue_warm_up = Table(
    "queue_warm_up",
    metadata,
    Column("source", Text, primary_key=True),
    Column("day", Integer, nullable=False, comment="since 1970, in UTC"),
    Column("day_sent", Integer, nullable=False),
    Column("hour", Integer, nullable=False, comment="since 1970"),
    Column("hour_sent", Integer, nullable=False),
    postgresql_with=SMALL_AND_HOT,
)
