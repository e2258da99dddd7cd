"""Tables of blobs: one row for each stored content, and the references that keep it.

Rules (design law 3, flows.md A.4 and E):
  - A reference row may only be inserted in a transaction that has gone through `posthorn_storage.blobs.attach` for the
    key: it stores inline bytes, locks the blob row FOR KEY SHARE and refuses a row that is not live. No foreign key
    repeats that, row by row (decision 0045).
  - References are removed only through `posthorn_storage.blobs.release`, which puts the blob on the collector's list.
  - A row in state `deleting` is never revived; equal content gets a key with the next generation byte.
  - The object in the object store is named by `object`, from a sequence, so a late delete can never hit newer content.
  - A blob that moves is copied under a new number, which `blob_stray` has before the copy is made; its row is switched
    by one statement that takes the copy off `blob_stray` and puts the old object there, to be deleted later.
  - The number of a store belongs to one name for ever: a blob is looked for where its row says, never by its hash.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    LargeBinary,
    Sequence,
    SmallInteger,
    Table,
    Text,
    func,
)

from posthorn_storage.schema.naming import metadata
from posthorn_storage.schema.upkeep import PASSING

blob_object = Sequence("blob_object", cache=32, metadata=metadata)

blob = Table(
    "blob",
    metadata,
    Column("key", LargeBinary, primary_key=True, comment="SHA-256 of the content, perhaps one generation byte"),
    Column("size", BigInteger, nullable=False, comment="of the content, decoded"),
    Column("state", SmallInteger, nullable=False),
    Column("encoding", SmallInteger, nullable=False, comment="a number of posthorn_storage.blobs.content"),
    Column("inline", LargeBinary, comment="the encoded bytes, when small"),
    Column("object", BigInteger, comment="names the object in the object store; NULL when there never was one"),
    Column("epoch", BigInteger, comment="of the collector that marked it deleting"),
    Column(
        "touched_at", DateTime(timezone=True), comment="on the collector's list since; NULL: known to be referenced"
    ),
    Column(
        "store", SmallInteger, nullable=False, server_default="0", comment="where the object lies: blob_store.number"
    ),
    Column("stored_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("state IN (0, 1, 2)", name="state"),
    CheckConstraint("octet_length(key) IN (32, 33)", name="key"),
    CheckConstraint("inline IS NOT NULL OR object IS NOT NULL", name="content"),
    Index("ix_blob_store", "store", "stored_at", postgresql_where="object IS NOT NULL"),
    Index("ix_blob_touched_at", "touched_at", postgresql_where="touched_at IS NOT NULL"),
    postgresql_with=PASSING,
)

blob_store = Table(
    "blob_store",
    metadata,
    Column("number", SmallInteger, primary_key=True, autoincrement=False, comment="blob.store; never given twice"),
    Column("name", Text, nullable=False, unique=True, comment="in the settings; empty: opened without one"),
)

blob_stray = Table(
    "blob_stray",
    metadata,
    Column("object", BigInteger, primary_key=True, autoincrement=False),
    Column("key", LargeBinary, nullable=False),
    Column("store", SmallInteger, nullable=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("sweeping", Boolean, nullable=False, server_default="false", comment="no row may name it any more"),
    Index(None, "at"),
    comment="objects that no blob names: copies that are being made, and what a move left behind",
)

blob_walk = Table(
    "blob_walk",
    metadata,
    Column("name", Text, primary_key=True, comment="what walks"),
    Column("position", Text, nullable=False, comment="where it goes on; empty: at the beginning"),
    Column("began_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("ended_at", DateTime(timezone=True), comment="of the round before"),
)

blob_ref = Table(
    "blob_ref",
    metadata,
    Column("blob_key", LargeBinary, primary_key=True),
    Column("kind", SmallInteger, primary_key=True),
    Column("account_id", BigInteger, primary_key=True, comment="0 when it belongs to no account"),
    Column("ref_id", BigInteger, primary_key=True),
    Column("content_type", Text, comment="of uploads"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("expires_at", DateTime(timezone=True), comment="of uploads"),
    Index(None, "account_id", "kind", "ref_id"),
    Index("ix_blob_ref_expires_at", "expires_at", postgresql_where="expires_at IS NOT NULL"),
    postgresql_with=PASSING,
)
