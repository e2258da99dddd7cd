"""Tables about TLS towards other servers: what their domains promise (RFC 8461), what they are told (RFC 8460)."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from posthorn_storage.schema.naming import metadata
from posthorn_storage.schema.upkeep import PASSING

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

tls_report = Table(
    "tls_report",
    metadata,
    Column("day", Date, primary_key=True, comment="UTC"),
    Column("domain", Text, primary_key=True, comment="of the recipients, in A-labels"),
    Column("policy", JSONB, nullable=False, comment="where it wants reports to: reports_to, a list of URIs"),
    Column("due", DateTime(timezone=True), nullable=False, comment="not sent before"),
    Column("ended_at", DateTime(timezone=True), comment="it was sent, or will never be"),
    Column("outcome", Text, nullable=False, server_default=""),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("problem", Text),
    Index("ix_tls_report_due", "due", postgresql_where="ended_at IS NULL"),
)

tls_result = Table(
    "tls_result",
    metadata,
    Column("day", Date, primary_key=True, comment="UTC"),
    Column("domain", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True, comment="SHA-256 of the facts"),
    Column("facts", JSONB, nullable=False, comment="posthorn_model.tls_reports.TlsSession"),
    Column("count", BigInteger, nullable=False, comment="sessions"),
    postgresql_with=PASSING,
)
