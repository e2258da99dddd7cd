"""Tables of certificates: those of the cluster, and what is ordered of authorities by ACME (RFC 8555)."""

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, DateTime, LargeBinary, Table, Text, func
from sqlalchemy.dialects.postgresql import ARRAY

from posthorn_storage.schema.naming import metadata

certificate = Table(
    "certificate",
    metadata,
    Column("name", Text, primary_key=True, comment="what the operator calls it"),
    Column("names", ARRAY(Text), nullable=False, comment="host names it is shown for"),
    Column("chain", Text, nullable=False, comment="PEM, the server's own first"),
    Column("sealed_key", LargeBinary, nullable=False, comment="posthorn_storage.certificates.sealing"),
    Column("issuer", Text, nullable=False),
    Column("not_before", DateTime(timezone=True), nullable=False),
    Column("not_after", DateTime(timezone=True), nullable=False),
    Column("source", Text, nullable=False, comment="file, acme"),
    Column("provider", Text, nullable=False, server_default="", comment="whose account with the authority got it"),
    Column("is_default", Boolean, nullable=False, server_default="false"),
    Column("state", Text, nullable=False, server_default="ready", comment="ready, revoked"),
    Column("version", BigInteger, nullable=False, comment="another one after each change"),
    Column("changed_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("state IN ('ready', 'revoked')", name="state"),
    CheckConstraint("source IN ('file', 'acme')", name="source"),
)
