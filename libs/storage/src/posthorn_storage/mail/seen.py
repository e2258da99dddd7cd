"""Deliveries already made: exactly once by delivery id (design law 7), and a client's repeat after a lost reply.

A row of `delivery_seen` is either a delivery id, kept until purged, or a digest of content, which suppresses equal
content for a short window and is removed as soon as the reply is known to have arrived (flows.md A, killed after 5).
"""

from collections.abc import Sequence
from typing import TypeAlias

from posthorn_model.ids import AccountId, MessageId
from posthorn_model.mail import NewMessage
from posthorn_storage.database import Connection

Key: TypeAlias = tuple[AccountId, bytes]

FORGET = """
DELETE FROM delivery_seen s USING unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS old (account_id, key, message_id)
WHERE s.account_id = old.account_id AND s.key = old.key AND s.message_id = old.message_id
"""


def id_key(message: NewMessage) -> Key | None:
    """The key of its delivery id, if it has one."""
    return None if message.delivery_id is None else (message.account, b"i" + message.delivery_id.bytes)


def digest_key(message: NewMessage) -> Key | None:
    """The key of the digest of its content, if it has one."""
    return None if message.dedupe is None else (message.account, dedupe_key(message.dedupe))


def dedupe_key(digest: bytes) -> bytes:
    """The key of a digest of content."""
    return b"d" + digest


async def forget(connection: Connection, rows: Sequence[tuple[Key, MessageId]]) -> None:
    """Remove digests whose replies arrived, if they still stand for these messages."""
    if rows:
        await connection.execute(
            FORGET, [key[0] for key, _ in rows], [key[1] for key, _ in rows], [message for _, message in rows]
        )
