"""Tables of certificates: those of the cluster, and what is ordered of authorities by ACME (RFC 8555)."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Index,
    Integer,
    LargeBinary,
    Table,
    Text,
    func,
)
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

acme_account = Table(
    "acme_account",
    metadata,
    Column("provider", Text, primary_key=True, comment='[acme."NAME"] of the settings'),
    Column("directory", Text, primary_key=True, comment="URL of the authority"),
    Column("sealed_key", LargeBinary, nullable=False),
    Column("url", Text, nullable=False, comment="empty: the authority has not made it yet"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

acme_order = Table(
    "acme_order",
    metadata,
    Column("name", Text, primary_key=True, comment="of the certificate"),
    Column("domains", ARRAY(Text), nullable=False),
    Column("url", Text, comment="of the order that is under way"),
    Column("sealed_key", LargeBinary, comment="of the certificate that is ordered"),
    Column("epoch", BigInteger, nullable=False, comment="of the lease of role/acme.renew"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("problem", Text),
    Column("problem_at", DateTime(timezone=True)),
    Column("due", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="not tried before"),
    Column("renew_at", DateTime(timezone=True), comment="advised by the authority, or wished for"),
    Column("ask_at", DateTime(timezone=True), comment="when the authority is to be asked again"),
)

acme_challenge = Table(
    "acme_challenge",
    metadata,
    Column("kind", Text, primary_key=True, comment="http-01, tls-alpn-01"),
    Column("key", Text, primary_key=True, comment="token, host name"),
    Column("order_name", Text, nullable=False),
    Column("content", Text, nullable=False, comment="key authorization (RFC 8555 8.1)"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Index(None, "order_name"),
)
