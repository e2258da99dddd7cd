"""Copying and moving messages between mailboxes of an account.

A copy is a second entry of the same message: same blob, same id. A mailbox holds a message once, so copying it to where
it is already makes a message of its own that shares the blob; IMAP sees a new UID either way (RFC 9051 6.4.7).
"""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_model.ids import AccountId, MailboxId, MessageId, Uid
from posthorn_storage.blobs.attach import refer
from posthorn_storage.codes import CREATED, REF_MESSAGE, UPDATED
from posthorn_storage.database import Row
from posthorn_storage.mail.expunge import TAKE, TAKE_ALL, take_out
from posthorn_storage.mail.journal import Journal, Place
from posthorn_storage.mail.kinds import EMAIL, THREAD
from posthorn_storage.mail.runs import entries, runs_of

_COPIED = "uid, message_id, size, flags, keywords"
CHOSEN = f"SELECT {_COPIED} FROM {entries(_COPIED)} ORDER BY uid"  # noqa: S608  constants only

THERE = """
SELECT message_id FROM mailbox_message
WHERE account_id = $1 AND mailbox_id = $2 AND message_id = ANY ($3::bigint[])
"""

CLONE = """
WITH pair AS (
    SELECT * FROM unnest($2::bigint[], $3::bigint[], $4::bigint[]) AS pair (old, new, modseq)
), texts AS (
    INSERT INTO message_text (account_id, message_id, "from", "to", cc, bcc, subject, headers, body)
    SELECT $1, pair.new, t."from", t."to", t.cc, t.bcc, t.subject, t.headers, t.body
    FROM pair JOIN message_text t ON t.account_id = $1 AND t.message_id = pair.old
)
INSERT INTO message (account_id, id, thread_id, blob_key, size, received_at, sent_at, created_modseq, has_attachment,
                     message_id, subject, base_subject, preview, envelope, body_structure, body, structure, listing,
                     headers)
SELECT $1, pair.new, m.thread_id, m.blob_key, m.size, m.received_at, m.sent_at, pair.modseq, m.has_attachment,
       m.message_id, m.subject, m.base_subject, m.preview, m.envelope, m.body_structure, m.body, m.structure,
       m.listing, m.headers
FROM pair JOIN message m ON m.account_id = $1 AND m.id = pair.old
RETURNING id, blob_key, thread_id, created_modseq
"""

PLACE = """
INSERT INTO mailbox_message (account_id, mailbox_id, uid, message_id, modseq, size, flags, keywords)
SELECT $1, mailbox_id, uid, message_id, modseq, size, flags, string_to_array(keywords, ' ')
FROM unnest($2::bigint[], $3::bigint[], $4::bigint[], $5::bigint[], $6::bigint[], $7::smallint[], $8::text[])
    AS n (mailbox_id, uid, message_id, modseq, size, flags, keywords)
"""


@dataclass(frozen=True, slots=True)
class Copied:
    """Where copied or moved messages ended up (RFC 9051 COPYUID)."""

    uidvalidity: int
    """Of the target."""
    pairs: list[tuple[Uid, Uid]]
    """UID in the source and new UID, ascending."""


@dataclass(frozen=True, slots=True)
class NewEntry:
    """An entry to make: `flags` are the system bits, `keywords` sorted."""

    place: Place
    message: int
    modseq: int
    size: int
    flags: int
    keywords: Sequence[str]


async def copy(
    journal: Journal, account: AccountId, source: MailboxId, uids: Sequence[int], target: MailboxId
) -> Copied:
    """Copy messages with their flags; UIDs that are not there are passed over. Raises MailboxNotFound, OverQuota."""
    await journal.places(account, [source, target])
    rows = await journal.connection.fetch(CHOSEN, account, source, *runs_of(uids))
    counter = journal.counters[account]
    modseqs = {row["message_id"]: counter.take() for row in rows}
    clones = await _clones(journal, account, target, rows, modseqs)
    for row in rows:
        if row["message_id"] not in clones:
            journal.log(account, EMAIL, UPDATED, row["message_id"], modseqs[row["message_id"]])
    return await _arrive(journal, account, target, rows, clones, modseqs)


async def move(
    journal: Journal,
    account: AccountId,
    source: MailboxId,
    uids: Sequence[int] | None,
    target: MailboxId,
) -> Copied:
    """Move messages (all of them without `uids`), flags and all. Raises MailboxNotFound, OverQuota."""
    await journal.places(account, [source, target])
    if uids is None:
        rows = await journal.connection.fetch(TAKE_ALL, account, source)
    else:
        rows = await journal.connection.fetch(TAKE, account, source, *runs_of(uids))
    rows = sorted(rows, key=lambda row: row["uid"])
    modseqs = await take_out(journal, account, rows)
    fresh = {message: journal.counters[account].take() for message in modseqs}
    clones = await _clones(journal, account, target, rows, fresh)
    for message, modseq in modseqs.items():
        # At the modseq of its new entry, so that the log tells of every entry's latest change.
        journal.log(account, EMAIL, UPDATED, message, modseq if message in clones else fresh[message])
    return await _arrive(journal, account, target, rows, clones, fresh)


async def _clones(
    journal: Journal,
    account: AccountId,
    target: MailboxId,
    rows: Sequence[Row],
    modseqs: dict[int, int],
) -> dict[int, int]:
    """Make messages of their own of those that the target holds already; returns old and new ids."""
    connection = journal.connection
    there = {row["message_id"] for row in await connection.fetch(THERE, account, target, list(modseqs))}
    chosen = [row for row in rows if row["message_id"] in there]
    if not chosen:
        return {}
    journal.counters[account].charge(sum(row["size"] for row in chosen), len(chosen))
    old = [row["message_id"] for row in chosen]
    clones = dict(zip(old, await journal.ids.take(connection, len(old)), strict=True))
    made = await connection.fetch(CLONE, account, old, [clones[one] for one in old], [modseqs[one] for one in old])
    # The originals keep their references while the account is locked, so their blobs cannot be collected meanwhile.
    await refer(
        connection, REF_MESSAGE, [row["blob_key"] for row in made], [account] * len(made), [row["id"] for row in made]
    )
    for row in made:
        journal.log(account, EMAIL, CREATED, row["id"], row["created_modseq"])
        journal.log(account, THREAD, UPDATED, row["thread_id"], row["created_modseq"])
    return clones


async def _arrive(
    journal: Journal,
    account: AccountId,
    target: MailboxId,
    rows: Sequence[Row],
    clones: dict[int, int],
    modseqs: dict[int, int],
) -> Copied:
    place = journal.place(account, target)
    new = [
        NewEntry(
            place,
            clones.get(row["message_id"], row["message_id"]),
            modseqs[row["message_id"]],
            row["size"],
            row["flags"],
            row["keywords"],
        )
        for row in rows
    ]
    given = await insert(journal, account, new)
    return Copied(place.uidvalidity, list(zip([row["uid"] for row in rows], given, strict=True)))


async def insert(journal: Journal, account: AccountId, entries: Sequence[NewEntry]) -> list[Uid]:
    """Write entries, counted in and with UIDs in their order; returns the UIDs."""
    uids = [Uid(entry.place.take_uid()) for entry in entries]
    for entry in entries:
        entry.place.count(entry.flags, entry.size, 1)
    if entries:
        await journal.connection.execute(
            PLACE,
            account,
            [entry.place.id for entry in entries],
            uids,
            [MessageId(entry.message) for entry in entries],
            [entry.modseq for entry in entries],
            [entry.size for entry in entries],
            [entry.flags for entry in entries],
            [" ".join(entry.keywords) for entry in entries],
        )
    return uids
