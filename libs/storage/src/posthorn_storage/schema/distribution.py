"""Tables of addresses that lead to several others: groups, forwards and mailing lists."""

from sqlalchemy import CheckConstraint, Column, DateTime, ForeignKey, Table, Text, func

from posthorn_storage.schema.naming import metadata

distribution = Table(
    "distribution",
    metadata,
    Column("address", Text, primary_key=True, comment="lower case; of a forward it is an account's or alias's too"),
    Column("kind", Text, nullable=False, comment="group, forward, list"),
    Column("name", Text, nullable=False, server_default="", comment="of a list, for people"),
    Column("owner", Text, nullable=False, server_default="", comment="of a list: who gets its bounces"),
    Column("posting", Text, nullable=False, server_default="anyone", comment="to a list: anyone, members, nobody"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    CheckConstraint("kind IN ('group', 'forward', 'list')", name="kind"),
    CheckConstraint("posting IN ('anyone', 'members', 'nobody')", name="posting"),
)

distribution_member = Table(
    "distribution_member",
    metadata,
    Column("address", Text, ForeignKey("distribution.address", ondelete="CASCADE"), primary_key=True),
    Column("member", Text, primary_key=True, comment="an address, of the cluster or not"),
)
