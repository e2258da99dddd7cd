"""Tables of the lookup store: narrow, rewritten all the time, and UNLOGGED, for everything in them may be lost.

They are empty after a crash of the server and on a standby that was promoted. Every key is made by the caller
(posthorn_model.lookup); no row refers to any other table. `until` is for the purge: a row may go once it has passed.
"""

from sqlalchemy import ARRAY, BigInteger, Boolean, Column, DateTime, Index, LargeBinary, Table, Text

from posthorn_storage.schema.naming import metadata

# Room for heap-only updates in the page, and a vacuum long before a fifth of the table is dead.
STORED = {"fillfactor": 50, "autovacuum_vacuum_scale_factor": 0.02, "autovacuum_vacuum_threshold": 1000}

lookup_counter = Table(
    "lookup_counter",
    metadata,
    Column("key", Text, primary_key=True),
    Column("sum", BigInteger, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Index(None, "until"),
    prefixes=["UNLOGGED"],
    postgresql_with=STORED,
)

lookup_limit = Table(
    "lookup_limit",
    metadata,
    Column("key", Text, primary_key=True),
    Column("full_at", DateTime(timezone=True), nullable=False, comment="when the bucket is full again"),
    Column("allowed", Boolean, nullable=False, comment="the answer to the last who wanted to take"),
    Column(
        "until", DateTime(timezone=True), nullable=False, comment="after full_at; moved seldom, to keep updates HOT"
    ),
    Index(None, "until"),
    prefixes=["UNLOGGED"],
    postgresql_with=STORED,
)

lookup_value = Table(
    "lookup_value",
    metadata,
    Column("key", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
    Column("until", DateTime(timezone=True), nullable=False),
    Index(None, "until"),
    prefixes=["UNLOGGED"],
    postgresql_with=STORED,
)

lookup_set = Table(
    "lookup_set",
    metadata,
    Column("key", Text, primary_key=True),
    Column("members", ARRAY(Text), nullable=False),
    Column("ends", ARRAY(DateTime(timezone=True)), nullable=False, comment="of each member, in the same order"),
    Column("joined", Boolean, nullable=False, comment="the answer to the last who wanted to join"),
    Column(
        "until", DateTime(timezone=True), nullable=False, comment="after all ends; moved seldom, to keep updates HOT"
    ),
    Index(None, "until"),
    prefixes=["UNLOGGED"],
    postgresql_with=STORED,
)
