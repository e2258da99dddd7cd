"""Tables about TLS towards other servers: what their domains promise (RFC 8461)."""

from sqlalchemy import Column, DateTime, Index, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from posthorn_storage.schema.naming import metadata

mta_sts_policy = Table(
    "mta_sts_policy",
    metadata,
    Column("domain", Text, primary_key=True, comment="in A-labels"),
    Column("id", Text, nullable=False, comment="as DNS had it when the policy was fetched"),
    Column("policy", JSONB, nullable=False, comment="posthorn_model.mta_sts.StsPolicy"),
    Column("fetched_at", DateTime(timezone=True), nullable=False),
    Column("expires_at", DateTime(timezone=True), nullable=False, comment="not believed after it"),
    Column(
        "refresh_at", DateTime(timezone=True), nullable=False, comment="to be fetched again, by whoever comes first"
    ),
    Index("ix_mta_sts_policy_refresh_at", "refresh_at"),
)
