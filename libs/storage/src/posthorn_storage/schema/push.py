"""Tables of Web Push: what clients have subscribed to (RFC 8620 7.2), and the key that pushes are signed with."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Identity,
    Index,
    Integer,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    false,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from posthorn_storage.schema.naming import metadata

push_subscription = Table(
    "push_subscription",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("device_client_id", Text, nullable=False),
    Column("url", Text, nullable=False, comment="of the push service; who knows it may push"),
    Column("p256dh", LargeBinary, comment="the client's public key (RFC 8291); NULL: pushes are not encrypted"),
    Column("sealed_auth", LargeBinary, comment="the client's secret; posthorn_storage.certificates.sealing"),
    Column("code", Text, nullable=False, comment="verification code, which the client must say back"),
    Column("greeted", Boolean, nullable=False, server_default=false(), comment="the push service took the code"),
    Column("verified", Boolean, nullable=False, server_default=false(), comment="the client said it back"),
    Column("types", ARRAY(Text), comment="JMAP types; NULL: all"),
    Column("expires_at", DateTime(timezone=True), nullable=False),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("pushed_modseq", BigInteger, nullable=False, comment="changes up to here were pushed, or need not be"),
    Column("pushed_at", DateTime(timezone=True)),
    Column("due", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="not pushed to before"),
    Column("failures", Integer, nullable=False, server_default="0", comment="in a row"),
    Column("problem", Text),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="of the lease of who pushed last"),
    CheckConstraint("(p256dh IS NULL) = (sealed_auth IS NULL)", name="keys"),
    Index(None, "expires_at"),
)

vapid_key = Table(
    "vapid_key",
    metadata,
    Column("id", SmallInteger, primary_key=True, autoincrement=False, comment="1: there is one"),
    Column("public_key", LargeBinary, nullable=False, comment="a point of P-256, uncompressed"),
    Column("sealed_key", LargeBinary, nullable=False, comment="PKCS #8; posthorn_storage.certificates.sealing"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
"""At home: the cluster's key for RFC 8292. Subscriptions at push services are bound to it, so it stays."""
