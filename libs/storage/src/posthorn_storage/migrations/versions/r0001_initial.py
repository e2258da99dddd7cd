"""The first schema.

# size: generated, one statement for each table.
"""

from collections.abc import Sequence

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import postgresql

revision: str = "0001"
down_revision: str | None = None
branch_labels: str | Sequence[str] | None = None
depends_on: str | Sequence[str] | None = None


def upgrade() -> None:
    # size: one statement for each table, generated once and never edited after a release
    op.execute(sa.schema.CreateSequence(sa.Sequence("blob_object", cache=32)))
    op.execute(sa.schema.CreateSequence(sa.Sequence("mailbox_id", cache=32)))
    op.execute(sa.schema.CreateSequence(sa.Sequence("message_id", cache=1)))
    op.create_table(
        "account_counter",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column(
            "modseq", sa.BigInteger(), server_default="1", nullable=False, comment="IMAP HIGHESTMODSEQ and JMAP state"
        ),
        sa.Column(
            "horizon", sa.BigInteger(), server_default="0", nullable=False, comment="change_log is complete after this"
        ),
        sa.Column(
            "uidvalidity", sa.BigInteger(), nullable=False, comment="the last one given to a mailbox of the account"
        ),
        sa.Column(
            "used_bytes", sa.BigInteger(), server_default="0", nullable=False, comment="messages and groupware items"
        ),
        sa.Column("used_messages", sa.BigInteger(), server_default="0", nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_account_counter")),
        postgresql_with={"fillfactor": 50, "autovacuum_vacuum_scale_factor": 0.05},
    )
    op.create_table(
        "blob",
        sa.Column(
            "key", sa.LargeBinary(), nullable=False, comment="SHA-256 of the content, perhaps one generation byte"
        ),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="of the content, decoded"),
        sa.Column("state", sa.SmallInteger(), nullable=False),
        sa.Column("encoding", sa.SmallInteger(), nullable=False, comment="0 plain, 1 zstd"),
        sa.Column("inline", sa.LargeBinary(), nullable=True, comment="the encoded bytes, when small"),
        sa.Column(
            "object",
            sa.BigInteger(),
            nullable=True,
            comment="names the object in the object store; NULL when there never was one",
        ),
        sa.Column("epoch", sa.BigInteger(), nullable=True, comment="of the collector that marked it deleting"),
        sa.Column(
            "touched_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="on the collector's list since; NULL: known to be referenced",
        ),
        sa.CheckConstraint("inline IS NOT NULL OR object IS NOT NULL", name=op.f("ck_blob_content")),
        sa.CheckConstraint("octet_length(key) IN (32, 33)", name=op.f("ck_blob_key")),
        sa.CheckConstraint("state IN (0, 1, 2)", name=op.f("ck_blob_state")),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_blob")),
    )
    op.create_index(
        "ix_blob_touched_at", "blob", ["touched_at"], unique=False, postgresql_where="touched_at IS NOT NULL"
    )
    op.create_table(
        "change_log",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False, comment="see KIND in posthorn_storage.mail.kinds"),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("seq", sa.BigInteger(), sa.Identity(always=False, cache=1000), nullable=False),
        sa.Column("object_id", sa.BigInteger(), nullable=False),
        sa.Column("op", sa.SmallInteger(), nullable=False, comment="1 created, 2 updated, 3 destroyed, 4 counted"),
        sa.Column(
            "container_id", sa.BigInteger(), nullable=True, comment="mailbox of an expunged UID, collection of an item"
        ),
        sa.Column("uid", sa.BigInteger(), nullable=True, comment="expunged UID"),
        sa.Column("name", sa.Text(), nullable=True, comment="of a removed item"),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "kind", "modseq", "seq", name=op.f("pk_change_log")),
        postgresql_with={"autovacuum_vacuum_insert_scale_factor": 0.1},
    )
    op.create_index("ix_change_log_at", "change_log", ["at"], unique=False, postgresql_using="brin")
    op.create_index(
        "ix_change_log_container",
        "change_log",
        ["account_id", "container_id", "modseq"],
        unique=False,
        postgresql_where=sa.text("container_id IS NOT NULL"),
    )
    op.create_table(
        "cluster_setting",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", postgresql.JSONB(astext_type=sa.Text()), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_cluster_setting")),
    )
    op.create_table(
        "collection",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, cache=32), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False, comment="posthorn_model.groupware.CollectionKind"),
        sa.Column("name", sa.Text(), nullable=False, comment="path segment"),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("description", sa.Text(), server_default="", nullable=False),
        sa.Column("color", sa.Text(), nullable=True),
        sa.Column(
            "properties",
            postgresql.JSONB(astext_type=sa.Text()),
            server_default="{}",
            nullable=False,
            comment="dead properties by Clark name",
        ),
        sa.Column("modseq", sa.BigInteger(), nullable=False, comment="of the latest change to it or to anything in it"),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_collection")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index("uq_collection_name", "collection", ["account_id", "kind", "name"], unique=True)
    op.create_table(
        "delivery_seen",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column(
            "key", sa.LargeBinary(), nullable=False, comment="'i' and a delivery id, or 'd' and a digest of the content"
        ),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_delivery_seen")),
    )
    op.create_index("ix_delivery_seen_at", "delivery_seen", ["at"], unique=False)
    op.create_table(
        "domain",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="lower case, A-labels"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_domain")),
        sa.UniqueConstraint("name", name=op.f("uq_domain_name")),
    )
    op.create_table(
        "email_submission",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, cache=32), nullable=False),
        sa.Column("identity_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False, comment="of the email, which may be gone by now"),
        sa.Column("thread_id", sa.BigInteger(), nullable=False, comment="of the email when it was submitted"),
        sa.Column("envelope", sa.Text(), nullable=False, comment="JSON: mailFrom and rcptTo as JMAP has them"),
        sa.Column(
            "delivered",
            postgresql.ARRAY(sa.Text()),
            nullable=False,
            comment="recipients whose mailboxes had it at once",
        ),
        sa.Column("send_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_email_submission")),
    )
    op.create_table(
        "item",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("collection_id", sa.BigInteger(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False, comment="path segment"),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, cache=32), nullable=False),
        sa.Column("uid", sa.Text(), nullable=False, comment="of iCalendar or vCard; empty for files"),
        sa.Column("etag", sa.Text(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=False),
        sa.Column("component", sa.Text(), nullable=False),
        sa.Column("starts_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("ends_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("modified_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("content", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "collection_id", "name", name=op.f("pk_item")),
        postgresql_with={"fillfactor": 80},
    )
    op.create_index("ix_item_modseq", "item", ["account_id", "collection_id", "modseq"], unique=False)
    op.create_index("uq_item_id", "item", ["account_id", "id"], unique=True)
    op.create_index(
        "uq_item_uid",
        "item",
        ["account_id", "collection_id", "uid"],
        unique=True,
        postgresql_where=sa.text("uid <> ''"),
    )
    op.create_table(
        "lease",
        sa.Column("key", sa.Text(), nullable=False, comment='"queue/3", "roles/purge", "node/7"'),
        sa.Column("owner", sa.Text(), nullable=False),
        sa.Column("epoch", sa.BigInteger(), nullable=False, comment="counts owners; never goes back"),
        sa.Column("until", sa.DateTime(timezone=True), nullable=False, comment="judged by the database's clock only"),
        sa.PrimaryKeyConstraint("key", name=op.f("pk_lease")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_table(
        "mailbox",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), server_default=sa.text("nextval('mailbox_id')"), nullable=False),
        sa.Column("parent_id", sa.BigInteger(), server_default="0", nullable=False, comment="0 at the top"),
        sa.Column("name", sa.Text(), nullable=False, comment="one level"),
        sa.Column("role", sa.Text(), nullable=True),
        sa.Column("subscribed", sa.Boolean(), server_default=sa.text("true"), nullable=False),
        sa.Column("sort_order", sa.Integer(), server_default="0", nullable=False),
        sa.Column("uidvalidity", sa.BigInteger(), nullable=False),
        sa.Column("uidnext", sa.BigInteger(), server_default="1", nullable=False),
        sa.Column(
            "recent_uid", sa.BigInteger(), server_default="1", nullable=False, comment="first UID no session has seen"
        ),
        sa.Column("total", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("unseen", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("deleted", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("size", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False, comment="of the latest change to it or to anything in it"),
        sa.CheckConstraint("total >= 0 AND unseen >= 0 AND deleted >= 0 AND size >= 0", name=op.f("ck_mailbox_counts")),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_mailbox")),
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0.05,
            "autovacuum_analyze_scale_factor": 0.05,
        },
    )
    op.create_index("uq_mailbox_name", "mailbox", ["account_id", "parent_id", "name"], unique=True)
    op.create_index(
        "uq_mailbox_role", "mailbox", ["account_id", "role"], unique=True, postgresql_where=sa.text("role IS NOT NULL")
    )
    op.create_table(
        "mailbox_message",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("mailbox_id", sa.BigInteger(), nullable=False),
        sa.Column("uid", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("modseq", sa.BigInteger(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False, comment="of the message, for counters and RFC822.SIZE"),
        sa.Column("flags", sa.SmallInteger(), nullable=False, comment="posthorn_model.flags.SystemFlag"),
        sa.Column(
            "keywords", postgresql.ARRAY(sa.Text()), server_default="{}", nullable=False, comment="lower case, sorted"
        ),
        sa.PrimaryKeyConstraint("account_id", "mailbox_id", "uid", name=op.f("pk_mailbox_message")),
        postgresql_with={
            "fillfactor": 70,
            "autovacuum_vacuum_scale_factor": 0.05,
            "autovacuum_analyze_scale_factor": 0.05,
        },
    )
    op.create_index(
        "ix_mailbox_message_modseq", "mailbox_message", ["account_id", "mailbox_id", "modseq"], unique=False
    )
    op.create_index(
        "uq_mailbox_message_message", "mailbox_message", ["account_id", "message_id", "mailbox_id"], unique=True
    )
    op.create_table(
        "message",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("thread_id", sa.BigInteger(), nullable=False, comment="id of the message that opened the thread"),
        sa.Column("blob_key", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("received_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("sent_at", sa.DateTime(timezone=True), nullable=True),
        sa.Column("created_modseq", sa.BigInteger(), nullable=False),
        sa.Column("has_attachment", sa.Boolean(), nullable=False),
        sa.Column("message_id", sa.Text(), nullable=True, comment="Message-ID without angle brackets"),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column("base_subject", sa.Text(), nullable=False, comment="RFC 5256 2.1"),
        sa.Column("preview", sa.Text(), nullable=False),
        sa.Column("envelope", sa.LargeBinary(), nullable=False),
        sa.Column("body_structure", sa.LargeBinary(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.Column("structure", sa.LargeBinary(), nullable=False),
        sa.Column("listing", sa.LargeBinary(), nullable=False),
        sa.Column("headers", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_message")),
        postgresql_with={"autovacuum_vacuum_insert_scale_factor": 0.1},
    )
    op.create_index("ix_message_received", "message", ["account_id", "received_at"], unique=False)
    op.create_index("ix_message_thread", "message", ["account_id", "thread_id"], unique=False)
    op.create_table(
        "message_text",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("message_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("from", sa.Text(), nullable=False, comment="this and the rest: lower case, for substring search"),
        sa.Column("to", sa.Text(), nullable=False),
        sa.Column("cc", sa.Text(), nullable=False),
        sa.Column("bcc", sa.Text(), nullable=False),
        sa.Column("subject", sa.Text(), nullable=False),
        sa.Column(
            "headers", sa.Text(), nullable=False, comment="name: value lines of the header fields often asked for"
        ),
        sa.Column("body", sa.Text(), nullable=False, comment="bounded"),
        sa.PrimaryKeyConstraint("account_id", "message_id", name=op.f("pk_message_text")),
        postgresql_with={"autovacuum_vacuum_insert_scale_factor": 0.1},
    )
    op.create_table(
        "process",
        sa.Column("boot", sa.Text(), nullable=False, comment="one life of one process"),
        sa.Column("node_id", sa.Integer(), nullable=False),
        sa.Column("service", sa.Text(), nullable=False),
        sa.Column("hostname", sa.Text(), nullable=False),
        sa.Column("region", sa.Text(), server_default="", nullable=False),
        sa.Column("state", sa.Text(), nullable=False),
        sa.Column("address", postgresql.JSONB(astext_type=sa.Text()), server_default="{}", nullable=False),
        sa.Column("load", sa.Float(), server_default="0", nullable=False),
        sa.Column("started_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("seen_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("boot", name=op.f("pk_process")),
        postgresql_with={"fillfactor": 50},
    )
    op.create_index(op.f("ix_process_node_id"), "process", ["node_id"], unique=False)
    op.create_table(
        "queue_message",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, cache=32), nullable=False),
        sa.Column("sender", sa.Text(), nullable=False, comment="MAIL FROM; empty is the null reverse-path"),
        sa.Column("blob_key", sa.LargeBinary(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column(
            "account_id", sa.BigInteger(), nullable=True, comment="who submitted it; NULL for relayed mail and bounces"
        ),
        sa.Column("smtputf8", sa.Boolean(), nullable=False),
        sa.Column("eight_bit", sa.Boolean(), nullable=False),
        sa.Column("ret", sa.Text(), nullable=True),
        sa.Column("envid", sa.Text(), nullable=True),
        sa.Column("delivery_id", sa.Uuid(), nullable=True, comment="makes a repeated enqueue a no-op"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column(
            "done_at",
            sa.DateTime(timezone=True),
            nullable=True,
            comment="no recipient is open any more; the blob reference is gone",
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_message")),
        sa.UniqueConstraint("delivery_id", name=op.f("uq_queue_message_delivery_id")),
    )
    op.create_index(
        "ix_queue_message_done_at", "queue_message", ["done_at"], unique=False, postgresql_where="done_at IS NOT NULL"
    )
    op.create_table(
        "removed_account",
        sa.Column("account_id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_removed_account")),
    )
    op.create_table(
        "thread_key",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("key", sa.LargeBinary(), nullable=False, comment="digest of a Message-ID and the base subject"),
        sa.Column("thread_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("account_id", "key", name=op.f("pk_thread_key")),
    )
    op.create_index("ix_thread_key_thread", "thread_key", ["account_id", "thread_id"], unique=False)
    op.create_table(
        "account",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, cache=32), nullable=False),
        sa.Column("domain_id", sa.BigInteger(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False, comment="lower case local part and domain"),
        sa.Column("kind", sa.Text(), server_default="user", nullable=False),
        sa.Column("display_name", sa.Text(), server_default="", nullable=False),
        sa.Column("quota", sa.BigInteger(), nullable=True, comment="bytes; NULL is without limit"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.CheckConstraint("kind IN ('user', 'group')", name=op.f("ck_account_kind")),
        sa.ForeignKeyConstraint(["domain_id"], ["domain.id"], name=op.f("fk_account_domain_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_account")),
        sa.UniqueConstraint("address", name=op.f("uq_account_address")),
    )
    op.create_index(op.f("ix_account_domain_id"), "account", ["domain_id"], unique=False)
    op.create_table(
        "blob_ref",
        sa.Column("blob_key", sa.LargeBinary(), nullable=False),
        sa.Column("kind", sa.SmallInteger(), nullable=False),
        sa.Column("account_id", sa.BigInteger(), nullable=False, comment="0 when it belongs to no account"),
        sa.Column("ref_id", sa.BigInteger(), nullable=False),
        sa.Column("content_type", sa.Text(), nullable=True, comment="of uploads"),
        sa.Column("created_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.Column("expires_at", sa.DateTime(timezone=True), nullable=True, comment="of uploads"),
        sa.ForeignKeyConstraint(["blob_key"], ["blob.key"], name=op.f("fk_blob_ref_blob_key")),
        sa.PrimaryKeyConstraint("blob_key", "kind", "account_id", "ref_id", name=op.f("pk_blob_ref")),
    )
    op.create_index(
        op.f("ix_blob_ref_account_id_kind_ref_id"), "blob_ref", ["account_id", "kind", "ref_id"], unique=False
    )
    op.create_index(
        "ix_blob_ref_expires_at", "blob_ref", ["expires_at"], unique=False, postgresql_where="expires_at IS NOT NULL"
    )
    op.create_table(
        "queue_event",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, cache=32), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("recipient_id", sa.BigInteger(), nullable=True, comment="NULL: concerns the whole message"),
        sa.Column("at", sa.DateTime(timezone=True), server_default=sa.text("clock_timestamp()"), nullable=False),
        sa.Column(
            "kind", sa.Text(), nullable=False, comment="queued, in-doubt, delivered, deferred, failed, cancelled, retry"
        ),
        sa.Column("attempt", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column("epoch", sa.BigInteger(), server_default="0", nullable=False),
        sa.Column("status", sa.Text(), server_default="", nullable=False),
        sa.Column("reply", sa.Text(), server_default="", nullable=False),
        sa.Column("remote", sa.Text(), server_default="", nullable=False),
        sa.Column("tls", sa.Text(), nullable=True),
        sa.ForeignKeyConstraint(
            ["message_id"], ["queue_message.id"], name=op.f("fk_queue_event_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_event")),
    )
    op.create_index(op.f("ix_queue_event_message_id"), "queue_event", ["message_id"], unique=False)
    op.create_table(
        "queue_recipient",
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False, cache=32), nullable=False),
        sa.Column("message_id", sa.BigInteger(), nullable=False),
        sa.Column("shard", sa.SmallInteger(), nullable=False),
        sa.Column("due", sa.DateTime(timezone=True), nullable=False),
        sa.Column("state", sa.SmallInteger(), nullable=False, comment="posthorn_model.queue_items.RecipientState"),
        sa.Column("attempt", sa.SmallInteger(), server_default="0", nullable=False),
        sa.Column(
            "epoch", sa.BigInteger(), server_default="0", nullable=False, comment="of the owner of the last attempt"
        ),
        sa.Column("since", sa.DateTime(timezone=True), nullable=True, comment="in flight since"),
        sa.Column(
            "doubts", sa.SmallInteger(), server_default="0", nullable=False, comment="attempts that ended unknown"
        ),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("address", sa.Text(), nullable=False),
        sa.Column("notify", sa.Text(), nullable=True),
        sa.Column("orcpt", sa.Text(), nullable=True),
        sa.Column(
            "status", sa.Text(), server_default="", nullable=False, comment="enhanced status code of the last attempt"
        ),
        sa.Column("reply", sa.Text(), server_default="", nullable=False, comment="last reply, one line, bounded"),
        sa.CheckConstraint("state BETWEEN 0 AND 4", name=op.f("ck_queue_recipient_state")),
        sa.ForeignKeyConstraint(
            ["message_id"], ["queue_message.id"], name=op.f("fk_queue_recipient_message_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_queue_recipient")),
        postgresql_with={"fillfactor": 70},
    )
    op.create_index(
        "ix_queue_recipient_due", "queue_recipient", ["shard", "due"], unique=False, postgresql_where="state IN (0, 1)"
    )
    op.create_index(op.f("ix_queue_recipient_message_id"), "queue_recipient", ["message_id"], unique=False)
    op.create_table(
        "alias",
        sa.Column("address", sa.Text(), nullable=False, comment='lower case; "@domain" catches all'),
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(["account_id"], ["account.id"], name=op.f("fk_alias_account_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("address", "account_id", name=op.f("pk_alias")),
    )
    op.create_index(op.f("ix_alias_account_id"), "alias", ["account_id"], unique=False)
    op.create_table(
        "credential",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("secret", sa.Text(), nullable=False, comment="argon2id, PHC string format"),
        sa.Column("updated_at", sa.DateTime(timezone=True), server_default=sa.text("now()"), nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_credential_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", name=op.f("pk_credential")),
    )
    op.create_table(
        "identity",
        sa.Column("account_id", sa.BigInteger(), nullable=False),
        sa.Column("id", sa.BigInteger(), sa.Identity(always=False), nullable=False),
        sa.Column("name", sa.Text(), server_default="", nullable=False),
        sa.Column("email", sa.Text(), nullable=False),
        sa.Column("reply_to", sa.Text(), nullable=True, comment="JSON list of JMAP EmailAddress objects"),
        sa.Column("bcc", sa.Text(), nullable=True, comment="JSON list of JMAP EmailAddress objects"),
        sa.Column("text_signature", sa.Text(), server_default="", nullable=False),
        sa.Column("html_signature", sa.Text(), server_default="", nullable=False),
        sa.ForeignKeyConstraint(
            ["account_id"], ["account.id"], name=op.f("fk_identity_account_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("account_id", "id", name=op.f("pk_identity")),
    )


def downgrade() -> None:
    op.drop_table("identity")
    op.drop_table("credential")
    op.drop_index(op.f("ix_alias_account_id"), table_name="alias")
    op.drop_table("alias")
    op.drop_index(op.f("ix_queue_recipient_message_id"), table_name="queue_recipient")
    op.drop_index("ix_queue_recipient_due", table_name="queue_recipient", postgresql_where="state IN (0, 1)")
    op.drop_table("queue_recipient")
    op.drop_index(op.f("ix_queue_event_message_id"), table_name="queue_event")
    op.drop_table("queue_event")
    op.drop_index("ix_blob_ref_expires_at", table_name="blob_ref", postgresql_where="expires_at IS NOT NULL")
    op.drop_index(op.f("ix_blob_ref_account_id_kind_ref_id"), table_name="blob_ref")
    op.drop_table("blob_ref")
    op.drop_index(op.f("ix_account_domain_id"), table_name="account")
    op.drop_table("account")
    op.drop_index("ix_thread_key_thread", table_name="thread_key")
    op.drop_table("thread_key")
    op.drop_table("removed_account")
    op.drop_index("ix_queue_message_done_at", table_name="queue_message", postgresql_where="done_at IS NOT NULL")
    op.drop_table("queue_message")
    op.drop_index(op.f("ix_process_node_id"), table_name="process")
    op.drop_table("process")
    op.drop_table("message_text")
    op.drop_index("ix_message_thread", table_name="message")
    op.drop_index("ix_message_received", table_name="message")
    op.drop_table("message")
    op.drop_index("uq_mailbox_message_message", table_name="mailbox_message")
    op.drop_index("ix_mailbox_message_modseq", table_name="mailbox_message")
    op.drop_table("mailbox_message")
    op.drop_index("uq_mailbox_role", table_name="mailbox", postgresql_where=sa.text("role IS NOT NULL"))
    op.drop_index("uq_mailbox_name", table_name="mailbox")
    op.drop_table("mailbox")
    op.drop_table("lease")
    op.drop_index("uq_item_uid", table_name="item", postgresql_where=sa.text("uid <> ''"))
    op.drop_index("uq_item_id", table_name="item")
    op.drop_index("ix_item_modseq", table_name="item")
    op.drop_table("item")
    op.drop_table("email_submission")
    op.drop_table("domain")
    op.drop_index("ix_delivery_seen_at", table_name="delivery_seen")
    op.drop_table("delivery_seen")
    op.drop_index("uq_collection_name", table_name="collection")
    op.drop_table("collection")
    op.drop_table("cluster_setting")
    op.drop_index(
        "ix_change_log_container", table_name="change_log", postgresql_where=sa.text("container_id IS NOT NULL")
    )
    op.drop_index("ix_change_log_at", table_name="change_log", postgresql_using="brin")
    op.drop_table("change_log")
    op.drop_index("ix_blob_touched_at", table_name="blob", postgresql_where="touched_at IS NOT NULL")
    op.drop_table("blob")
    op.drop_table("account_counter")
    op.execute(sa.schema.DropSequence(sa.Sequence("blob_object")))
    op.execute(sa.schema.DropSequence(sa.Sequence("mailbox_id")))
    op.execute(sa.schema.DropSequence(sa.Sequence("message_id")))
