"""The table of DKIM keys (RFC 6376): one row for each selector that a domain has ever had."""

from sqlalchemy import CheckConstraint, Column, DateTime, Index, Integer, LargeBinary, Table, Text, func

from posthorn_storage.schema.naming import metadata

dkim_key = Table(
    "dkim_key",
    metadata,
    Column("domain", Text, primary_key=True, comment="lower case, A-labels"),
    Column("selector", Text, primary_key=True),
    Column("algorithm", Text, nullable=False, comment="rsa, ed25519"),
    Column("state", Text, nullable=False, comment="waiting, active, retired, removed"),
    Column("public_key", Text, nullable=False, comment="the p= tag of its record"),
    Column("sealed_key", LargeBinary, comment="posthorn_storage.certificates.sealing; NULL: it was removed"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("published_at", DateTime(timezone=True), comment="since when its record is known to be in DNS"),
    Column("active_at", DateTime(timezone=True)),
    Column("retired_at", DateTime(timezone=True)),
    Column("removed_at", DateTime(timezone=True)),
    Column("due", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="not looked at before"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("problem", Text),
    CheckConstraint("algorithm IN ('rsa', 'ed25519')", name="algorithm"),
    CheckConstraint("state IN ('waiting', 'active', 'retired', 'removed')", name="state"),
    CheckConstraint("state = 'removed' OR sealed_key IS NOT NULL", name="sealed_key"),
    Index(
        "uq_dkim_key_one_of_each", "domain", "algorithm", "state",
        unique=True, postgresql_where="state IN ('waiting', 'active')",
    ),
)  # fmt: skip
