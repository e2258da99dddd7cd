"""The table of Sieve scripts, keyed by account and kept where the account lives."""

from sqlalchemy import BigInteger, Boolean, Column, DateTime, Index, Table, Text, func, text

from posthorn_storage.schema.naming import metadata

sieve_script = Table(
    "sieve_script",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, primary_key=True),
    Column("content", Text, nullable=False),
    Column("active", Boolean, nullable=False, server_default=text("false"), comment="one at most of an account"),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Index("uq_sieve_script_active", "account_id", unique=True, postgresql_where=text("active")),
)
