"""Tables of domains, accounts, aliases, credentials and identities. Small rows, read far more than written."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    DateTime,
    ForeignKey,
    Identity,
    Index,
    LargeBinary,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import ARRAY

from posthorn_storage.schema.naming import metadata

domain = Table(
    "domain",
    metadata,
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, unique=True, comment="lower case, A-labels"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

account = Table(
    "account",
    metadata,
    Column("id", BigInteger, Identity(cache=32), primary_key=True),
    Column("domain_id", BigInteger, ForeignKey("domain.id"), nullable=False),
    Column("address", Text, nullable=False, unique=True, comment="lower case local part and domain"),
    Column("kind", Text, nullable=False, server_default="user"),
    Column("display_name", Text, nullable=False, server_default=""),
    Column("quota", BigInteger, comment="bytes; NULL is without limit"),
    Column("shard", SmallInteger, nullable=False, server_default="0", comment="where it lives"),
    Column("epoch", BigInteger, nullable=False, server_default="1", comment="counts its moves"),
    Column("region", Text, nullable=False, server_default="", comment="where it must live; empty: anywhere"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("kind IN ('user', 'group')", name="kind"),
    Index(None, "domain_id"),
)

alias = Table(
    "alias",
    metadata,
    Column("address", Text, primary_key=True, comment='lower case; "@domain" catches all'),
    Column("account_id", BigInteger, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Index(None, "account_id"),
)

credential = Table(
    "credential",
    metadata,
    Column("account_id", BigInteger, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("secret", Text, nullable=False, comment="argon2id, PHC string format"),
    Column("updated_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("scram", Text, comment="verifier of SCRAM-SHA-256, RFC 5803"),
    Column("scram_at", DateTime(timezone=True), comment="equals updated_at, or the verifier is of an older password"),
)

app_password = Table(
    "app_password",
    metadata,
    Column("account_id", BigInteger, ForeignKey("account.id", ondelete="CASCADE"), primary_key=True),
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, comment="what its owner calls it"),
    Column("digest", LargeBinary, nullable=False, comment="SHA-256: the password is random"),
    Column("services", ARRAY(Text), nullable=False, server_default="{}", comment="that it is for; empty: all"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("used_at", DateTime(timezone=True), comment="roughly"),
    Column("expires_at", DateTime(timezone=True)),
)
"""Passwords that were made for one device or program each."""

identity = Table(
    "identity",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("id", BigInteger, Identity(), primary_key=True),
    Column("name", Text, nullable=False, server_default=""),
    Column("email", Text, nullable=False),
    Column("reply_to", Text, comment="JSON list of JMAP EmailAddress objects"),
    Column("bcc", Text, comment="JSON list of JMAP EmailAddress objects"),
    Column("text_signature", Text, nullable=False, server_default=""),
    Column("html_signature", Text, nullable=False, server_default=""),
)

removed_account = Table(
    "removed_account",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("shard", SmallInteger, nullable=False, server_default="0"),
)
"""Accounts nobody finds any more whose rows are still being removed in steps."""

share = Table(
    "share",
    metadata,
    Column("grantee_id", BigInteger, primary_key=True, autoincrement=False, comment="an account; 0: anyone"),
    Column("owner_id", BigInteger, primary_key=True, autoincrement=False, comment="perhaps elsewhere"),
    Column(
        "at", DateTime(timezone=True), nullable=False, server_default=func.now(), comment="last offered or looked at"
    ),
    Index(None, "at"),
)
"""Who may find something of whom: written before the rights are, removed when none are found (mail.rights)."""
