"""Tables of the cluster itself: leases, processes of nodes, shards, settings fixed for all nodes."""

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Float,
    Index,
    Integer,
    SmallInteger,
    Table,
    Text,
    func,
)
from sqlalchemy.dialects.postgresql import CIDR, JSONB

from posthorn_storage.schema.naming import metadata
from posthorn_storage.schema.upkeep import SMALL_AND_HOT

lease = Table(
    "lease",
    metadata,
    Column("key", Text, primary_key=True, comment='"queue/3", "roles/purge", "node/7"'),
    Column("owner", Text, nullable=False),
    Column("epoch", BigInteger, nullable=False, comment="counts owners; never goes back"),
    Column("until", DateTime(timezone=True), nullable=False, comment="judged by the database's clock only"),
    # Renewed every few seconds for ever: room for heap-only updates in the page.
    postgresql_with=SMALL_AND_HOT,
)

process = Table(
    "process",
    metadata,
    Column("boot", Text, primary_key=True, comment="one life of one process"),
    Column("node_id", Integer, nullable=False),
    Column("service", Text, nullable=False),
    Column("hostname", Text, nullable=False),
    Column("region", Text, nullable=False, server_default=""),
    Column("state", Text, nullable=False),
    Column("address", JSONB, nullable=False, server_default="{}"),
    Column("load", Float, nullable=False, server_default="0"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("seen_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("schema", Text, nullable=False, server_default="", comment="newest revision its code knows"),
    Column("roles", JSONB, comment="which nodes its settings let hold which role; null: it said nothing"),
    Column("wish", Text, nullable=False, server_default="", comment="of the operator: drain"),
    Index(None, "node_id"),
    postgresql_with=SMALL_AND_HOT,
)

cluster_setting = Table(
    "cluster_setting",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", JSONB, nullable=False),
)

shard = Table(
    "shard",
    metadata,
    Column("number", SmallInteger, primary_key=True, autoincrement=False, comment="0 is the directory's"),
    Column("name", Text, nullable=False, unique=True, comment="of the store in the settings"),
    Column("created_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

account_move = Table(
    "account_move",
    metadata,
    Column("account_id", BigInteger, primary_key=True, autoincrement=False),
    Column("source", SmallInteger, nullable=False),
    Column("target", SmallInteger, nullable=False),
    Column("step", Text, nullable=False, comment="copying, switched; rows go when it is over"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("switched_at", DateTime(timezone=True)),
    Column("epoch", BigInteger, nullable=False, server_default="0", comment="of the mover's lease"),
)

role_job = Table(
    "role_job",
    metadata,
    Column("role", Text, primary_key=True, comment='"purge.stores"'),
    Column("job", Text, primary_key=True),
    Column("share", SmallInteger, primary_key=True, autoincrement=False, comment="from 0"),
    Column("shares", SmallInteger, nullable=False, server_default="1"),
    Column("epoch", BigInteger, nullable=False, comment="of the lease of who worked last"),
    Column("cursor", Text, nullable=False, server_default="", comment="where the round goes on, in the job's words"),
    Column("running", Boolean, nullable=False, server_default="true", comment="a round is under way or was cut short"),
    Column("worked", BigInteger, nullable=False, server_default="0", comment="by the round so far"),
    Column("started_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("finished_at", DateTime(timezone=True)),
    Column("failures", SmallInteger, nullable=False, server_default="0", comment="steps that failed in a row"),
    Column("problem", Text, comment="the last one"),
    Column("problem_at", DateTime(timezone=True)),
    postgresql_with=SMALL_AND_HOT,
)

role_wish = Table(
    "role_wish",
    metadata,
    Column("key", Text, primary_key=True, comment='of a lease: "role/purge.stores"'),
    Column("node_id", Integer, nullable=False, comment="who shall hold it, while it lives"),
    Column("at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)

ban = Table(
    "ban",
    metadata,
    Column("network", CIDR, primary_key=True),
    Column("reason", Text, nullable=False),
    Column("source", Text, nullable=False, comment="automatic, operator"),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
    Column("until", DateTime(timezone=True), comment="NULL: until it is lifted"),
    CheckConstraint("source IN ('automatic', 'operator')", name="source"),
)

role_tenure = Table(
    "role_tenure",
    metadata,
    Column("key", Text, primary_key=True, comment="of the role's lease"),
    Column("epoch", BigInteger, nullable=False),
    Column("node_id", Integer, nullable=False),
    Column("since", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
