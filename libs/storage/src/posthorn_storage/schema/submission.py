"""The table of what accounts have submitted by JMAP (RFC 8621 7), keyed by account like all that changes with it."""

from sqlalchemy import BigInteger, Column, DateTime, Identity, Table, Text, func
from sqlalchemy.dialects.postgresql import ARRAY

from posthorn_storage.schema.naming import metadata

email_submission = Table(
    "email_submission",
    metadata,
    Column("account_id", BigInteger, primary_key=True),
    Column("id", BigInteger, Identity(cache=32), primary_key=True),
    Column("identity_id", BigInteger, nullable=False),
    Column("message_id", BigInteger, nullable=False, comment="of the email, which may be gone by now"),
    Column("thread_id", BigInteger, nullable=False, comment="of the email when it was submitted"),
    Column("envelope", Text, nullable=False, comment="JSON: mailFrom and rcptTo as JMAP has them"),
    Column("delivered", ARRAY(Text), nullable=False, comment="recipients whose mailboxes had it at once"),
    Column("send_at", DateTime(timezone=True), nullable=False, server_default=func.now()),
)
