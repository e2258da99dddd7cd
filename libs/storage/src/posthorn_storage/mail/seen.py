"""Deliveries already made: exactly once by delivery id (design law 7), and a client's repeat after a lost reply.

A row of `delivery_seen` is either a delivery id, kept until purged, or a digest of content, which suppresses equal
content for a short window and is removed as soon as the reply is known to have arrived (flows.md A, killed after 5).
"""

from collections.abc import Mapping, Sequence
from typing import TypeAlias

from posthorn_model.ids import AccountId, MessageId
from posthorn_model.mail import NewMessage
from posthorn_storage.database import Connection

Key: TypeAlias = tuple[AccountId, bytes]

# The first byte of a key tells the two kinds apart; 105 is "i", a delivery id, which no window limits.
FIND = """
SELECT s.account_id, s.key, s.message_id
FROM unnest($1::bigint[], $2::bytea[]) AS wanted (account_id, key)
JOIN delivery_seen s ON s.account_id = wanted.account_id AND s.key = wanted.key
WHERE get_byte(s.key, 0) = 105 OR s.at > clock_timestamp() - make_interval(secs => $3)
"""

REMEMBER = """
INSERT INTO delivery_seen (account_id, key, message_id, at)
SELECT account_id, key, message_id, clock_timestamp()
FROM unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS n (account_id, key, message_id)
ON CONFLICT (account_id, key) DO UPDATE SET message_id = EXCLUDED.message_id, at = EXCLUDED.at
"""

FORGET = """
DELETE FROM delivery_seen s USING unnest($1::bigint[], $2::bytea[], $3::bigint[]) AS old (account_id, key, message_id)
WHERE s.account_id = old.account_id AND s.key = old.key AND s.message_id = old.message_id
"""


def keys(message: NewMessage) -> list[bytes]:
    """The keys under which a delivery is remembered."""
    found = []
    if message.delivery_id is not None:
        found.append(b"i" + message.delivery_id.bytes)
    if message.dedupe is not None:
        found.append(dedupe_key(message.dedupe))
    return found


def dedupe_key(digest: bytes) -> bytes:
    """The key of a digest of content."""
    return b"d" + digest


async def find(
    connection: Connection, wanted: Sequence[Key], window: float, forgotten: Mapping[Key, MessageId]
) -> dict[Key, MessageId]:
    """Earlier deliveries under these keys; `window` is in seconds, what is in `forgotten` counts as not there."""
    asked = list(set(wanted))
    if not asked:
        return {}
    rows = await connection.fetch(FIND, [key[0] for key in asked], [key[1] for key in asked], window)
    found = {(row["account_id"], row["key"]): row["message_id"] for row in rows}
    return {key: message for key, message in found.items() if forgotten.get(key) != message}


async def remember(connection: Connection, rows: Sequence[tuple[Key, MessageId]]) -> None:
    """Write down deliveries, in the transaction that makes them."""
    if rows:
        await connection.execute(
            REMEMBER, [key[0] for key, _ in rows], [key[1] for key, _ in rows], [message for _, message in rows]
        )


async def forget(connection: Connection, rows: Sequence[tuple[Key, MessageId]]) -> None:
    """Remove digests whose replies arrived, if they still stand for these messages."""
    if rows:
        await connection.execute(
            FORGET, [key[0] for key, _ in rows], [key[1] for key, _ in rows], [message for _, message in rows]
        )
