"""Tables of the search index: its words, and what is still to be indexed. Both live where the account's messages do.

Triggers on `message_text` keep them in step with it, whatever version of this library writes there: a text that comes
in (or moves to another message id) gets a task, one that goes takes its task and then its words along. The first
statement waits for a worker that is writing them, and the second then sees what was written: no words stay behind.
"""

from sqlalchemy import BigInteger, Column, DateTime, Index, LargeBinary, SmallInteger, Table, Text, func
from sqlalchemy.dialects.postgresql import TSVECTOR

from posthorn_storage.schema.naming import metadata

index_task = Table(
    "index_task",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("state", SmallInteger, nullable=False, server_default="0", comment="see posthorn_storage.index.tasks"),
    Column("due", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("queued_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="of the last claimant's lease"),
    Column("attempt", SmallInteger, nullable=False, server_default="0"),
    Column("reason", Text, comment="why the last attempt failed"),
    Index("ix_index_task_due", "state", "due"),
    postgresql_with={"fillfactor": 70, "autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000},
)

message_index = Table(
    "message_index",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("message_id", BigInteger, primary_key=True, autoincrement=False),
    Column("version", SmallInteger, nullable=False, comment="of the form of `words`"),
    Column("language", Text, nullable=False, comment="whose word forms are in it"),
    Column("problem", Text, comment="what could not be read"),
    Column("indexed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("words", TSVECTOR, nullable=False, comment="every word begins with the account's number"),
    Column("grams", LargeBinary, comment="which sequences of three characters the texts hold; NULL: not known"),
    Index("ix_message_index_words", "words", postgresql_using="gin", postgresql_with={"fastupdate": "off"}),
    postgresql_with={"autovacuum_vacuum_insert_scale_factor": 0.1},
)
