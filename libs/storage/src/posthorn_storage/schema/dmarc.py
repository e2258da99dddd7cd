"""Tables of DMARC aggregate reports that are to be sent (RFC 7489 7.2)."""

from sqlalchemy import BigInteger, Column, Date, DateTime, Index, Integer, LargeBinary, Table, Text
from sqlalchemy.dialects.postgresql import JSONB

from posthorn_storage.schema.naming import metadata
from posthorn_storage.schema.upkeep import PASSING

dmarc_report = Table(
    "dmarc_report",
    metadata,
    Column("day", Date, primary_key=True, comment="UTC"),
    Column("domain", Text, primary_key=True, comment="where the policy was found"),
    Column("policy", JSONB, nullable=False, comment="the last one seen that day: posthorn_model.dmarc.PublishedPolicy"),
    Column("due", DateTime(timezone=True), nullable=False, comment="not sent before"),
    Column("ended_at", DateTime(timezone=True), comment="it was sent, or will never be"),
    Column("outcome", Text, nullable=False, server_default=""),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("problem", Text),
    Index("ix_dmarc_report_due", "due", postgresql_where="ended_at IS NULL"),
)

dmarc_result = Table(
    "dmarc_result",
    metadata,
    Column("day", Date, primary_key=True, comment="UTC"),
    Column("domain", Text, primary_key=True),
    Column("key", LargeBinary, primary_key=True, comment="SHA-256 of the facts"),
    Column("facts", JSONB, nullable=False, comment="posthorn_model.dmarc.DmarcObservation"),
    Column("count", BigInteger, nullable=False, comment="messages"),
    postgresql_with=PASSING,
)
