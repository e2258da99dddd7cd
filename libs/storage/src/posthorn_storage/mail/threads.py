"""Threads: which one a new message belongs to, by the Message-IDs it names (RFC 5256, RFC 8621 3), and merging them.

Two messages share a thread when they name a common Message-ID and have the same base subject. A thread is known by the
id of the message that opened it. A message that ties threads together merges them: RFC 8621 3 makes `threadId`
immutable, so each message that changes its thread gets a new id, which clients see as destroyed and created.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b
from typing import TypeAlias

from posthorn_mail_format.search_texts import fold
from posthorn_model.ids import AccountId, MessageId, ThreadId
from posthorn_model.mail import MessageSummary
from posthorn_storage.blobs.attach import refer, release
from posthorn_storage.codes import CREATED, DESTROYED, REF_MESSAGE, UPDATED
from posthorn_storage.database import Database
from posthorn_storage.database.plans import each_of
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import EMAIL, THREAD

Key: TypeAlias = tuple[AccountId, bytes]

MAX_REFERENCES = 64
"""The newest references looked at, beside the very first; a longer chain joins by these."""
MAX_MERGE = 1000
"""Threads with more messages than this stay apart: a merge must not make one delivery slow."""

MEMBERS = """
SELECT id, blob_key FROM message WHERE account_id = $1 AND thread_id = ANY ($2::bigint[]) ORDER BY id LIMIT $3
"""

REISSUE = """
WITH pair AS (
    SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS pair (old, new, modseq)
), moved AS (
    UPDATE message m SET id = pair.new, thread_id = $5, created_modseq = pair.modseq
    FROM pair WHERE m.account_id = $1 AND m.id = pair.old
), placed AS (
    UPDATE mailbox_message m SET message_id = pair.new, modseq = pair.modseq
    FROM pair WHERE m.account_id = $1 AND m.message_id = pair.old
    RETURNING m.mailbox_id
), searched AS (
    UPDATE message_text t SET message_id = pair.new FROM pair WHERE t.account_id = $1 AND t.message_id = pair.old
), delivered AS (
    UPDATE delivery_seen s SET message_id = pair.new FROM pair WHERE s.account_id = $1 AND s.message_id = pair.old
), keyed AS (
    UPDATE thread_key SET thread_id = $5 WHERE account_id = $1 AND thread_id = ANY ($6::bigint[])
)
SELECT DISTINCT mailbox_id FROM placed
"""

MESSAGES = f"""
SELECT thread_id, id FROM {each_of("message", "thread_id", "thread_id, received_at, id")}
ORDER BY thread_id, received_at, id
"""  # noqa: S608  constants only


def keys(account: AccountId, summary: MessageSummary) -> list[Key]:
    """What a message finds its thread by: a digest for each Message-ID it bears or names."""
    named = list(summary.in_reply_to[-MAX_REFERENCES:])
    if references := summary.references:
        named += references[:1] + references[1:][-MAX_REFERENCES:]
    if summary.message_id:
        named.append(summary.message_id)
    subject = fold(summary.base_subject).encode() + b"\0"
    found = {clean_id: None for text in named if (clean_id := text.strip())}
    return [(account, blake2b(subject + text.encode("utf-8", "replace"), digest_size=16).digest()) for text in found]


async def merge(
    journal: Journal, account: AccountId, sources: Sequence[int], target: int
) -> dict[MessageId, MessageId]:
    """Move the messages of `sources` into `target`; returns old and new ids, empty when they stay apart."""
    connection = journal.connection
    rows = await connection.fetch(MEMBERS, account, sources, MAX_MERGE + 1)
    if not rows or len(rows) > MAX_MERGE:
        return {}
    old = [row["id"] for row in rows]
    new = await journal.ids.take(connection, len(old))
    # The end of the old id and the start of the new one have a modseq each: lists of changes are cut between modseqs.
    first = journal.counters[account].take(2 * len(old))
    modseqs = list(range(first + 1, first + 2 * len(old), 2))
    touched = await connection.fetch(REISSUE, account, old, new, modseqs, target, sources)
    await refer(connection, REF_MESSAGE, [row["blob_key"] for row in rows], [account] * len(new), new)
    await release(connection, REF_MESSAGE, [account] * len(old), old)
    for place in await journal.places(account, [row["mailbox_id"] for row in touched]):
        place.touched = True
    for before, after, modseq in zip(old, new, modseqs, strict=True):
        journal.log(account, EMAIL, DESTROYED, before, modseq - 1)
        journal.log(account, EMAIL, CREATED, after, modseq)
        journal.log(account, THREAD, UPDATED, target, modseq)
    for source in sources:
        journal.log(account, THREAD, DESTROYED, source, journal.counters[account].take())
    return {MessageId(before): MessageId(after) for before, after in zip(old, new, strict=True)}


async def members(
    database: Database, account: AccountId, threads: Sequence[ThreadId]
) -> Mapping[ThreadId, list[MessageId]]:
    """Message ids of each thread, oldest first (RFC 8621 3); unknown threads are left out."""
    found: dict[ThreadId, list[MessageId]] = {}
    for row in await database.fetch(MESSAGES, account, list(set(threads))):
        found.setdefault(row["thread_id"], []).append(row["id"])
    return found
