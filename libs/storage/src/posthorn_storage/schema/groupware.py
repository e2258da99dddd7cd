"""Tables of calendars, address books and files; they share `account_counter` and `change_log` with the mail store."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Index, LargeBinary, Table, Text, func, text
from sqlalchemy.dialects.postgresql import JSONB

from posthorn_storage.schema.naming import metadata

collection = Table(
    "collection",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("id", BigInteger, Identity(cache=32), primary_key=True),
    Column("kind", Text, nullable=False, comment="posthorn_model.groupware.CollectionKind"),
    Column("name", Text, nullable=False, comment="path segment"),
    Column("display_name", Text, nullable=False, server_default=""),
    Column("description", Text, nullable=False, server_default=""),
    Column("color", Text),
    Column("properties", JSONB, nullable=False, server_default="{}", comment="dead properties by Clark name"),
    Column("modseq", BigInteger, nullable=False, comment="of the latest change to it or to anything in it"),
    Index("uq_collection_name", "account_id", "kind", "name", unique=True),
    postgresql_with={"fillfactor": 70},
)

item = Table(
    "item",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("collection_id", BigInteger, primary_key=True),
    Column("name", Text, primary_key=True, comment="path segment"),
    Column("id", BigInteger, Identity(cache=32), nullable=False),
    Column("uid", Text, nullable=False, comment="of iCalendar or vCard; empty for files"),
    Column("etag", Text, nullable=False),
    Column("content_type", Text, nullable=False),
    Column("component", Text, nullable=False),
    Column("starts_at", DateTime(timezone=True)),
    Column("ends_at", DateTime(timezone=True)),
    Column("modseq", BigInteger, nullable=False),
    Column("modified_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("content", LargeBinary, nullable=False),
    Index("uq_item_uid", "account_id", "collection_id", "uid", unique=True, postgresql_where=text("uid <> ''")),
    Index("uq_item_id", "account_id", "id", unique=True),
    Index("ix_item_modseq", "account_id", "collection_id", "modseq"),
    postgresql_with={"fillfactor": 80},
)
