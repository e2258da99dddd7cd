"""Taking messages out of mailboxes, and away for good once they are in none: what is expunged never returns."""

from collections.abc import Iterable, Sequence

from posthorn_model.ids import AccountId, MailboxId, MessageId, Uid
from posthorn_storage.blobs.attach import release
from posthorn_storage.codes import DESTROYED, REF_MESSAGE, UPDATED
from posthorn_storage.database import Row
from posthorn_storage.database.plans import each_of
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import EMAIL, THREAD, VANISHED
from posthorn_storage.mail.runs import entries, runs_of

_OUT = "RETURNING mailbox_id, uid, message_id, modseq, size, flags, keywords"
_NAMED = "DELETE FROM mailbox_message m USING (SELECT place FROM {entries}) AS named WHERE m.ctid = named.place {out}"
"""By their places, which the account's lock keeps: nothing is looked for but the runs."""
TAKE = _NAMED.format(entries=entries("ctid AS place"), out=_OUT)
_ALL = "DELETE FROM mailbox_message WHERE account_id = $1 AND mailbox_id = $2"
TAKE_ALL = f"{_ALL} {_OUT}"
TAKE_DELETED = _NAMED.format(entries=f"{entries('ctid AS place, flags')} WHERE flags & 8 <> 0", out=_OUT)
TAKE_ALL_DELETED = f"{_ALL} AND flags & 8 <> 0 {_OUT}"
TAKE_MESSAGES = f"""
DELETE FROM mailbox_message WHERE account_id = $1 AND message_id = ANY ($2::bigint[]) {_OUT}
"""  # noqa: S608

# By their places, too, which the account's lock keeps; see each_of.
ORPHANS = f"""
DELETE FROM message m USING (
    SELECT place FROM {each_of("message", "id", "ctid AS place, id")}
    WHERE (
        SELECT true FROM mailbox_message b
        WHERE b.account_id = $1 AND b.message_id BETWEEN found.id AND found.id ORDER BY b.message_id LIMIT 1
    ) IS NULL) AS orphan
WHERE m.ctid = orphan.place
RETURNING m.id, m.thread_id, m.size
"""  # noqa: S608  constants only
TEXTS = "DELETE FROM message_text WHERE account_id = $1 AND message_id = ANY ($2::bigint[])"
EMPTY_THREADS = """
SELECT thread_id FROM unnest($2::bigint[]) AS t (thread_id)
WHERE NOT EXISTS (SELECT FROM message m WHERE m.account_id = $1 AND m.thread_id = t.thread_id)
"""
KEYS = "DELETE FROM thread_key WHERE account_id = $1 AND thread_id = ANY ($2::bigint[])"


async def take_out(journal: Journal, account: AccountId, rows: Sequence[Row]) -> dict[int, int]:
    """Count out membership rows that a statement deleted and log their UIDs; returns a modseq for each message."""
    await journal.load([account], {row["mailbox_id"] for row in rows})
    counter = journal.counters[account]
    modseqs: dict[int, int] = {}
    for row in sorted(rows, key=lambda row: (row["mailbox_id"], row["uid"])):
        modseq = modseqs.setdefault(row["message_id"], 0) or counter.take()
        modseqs[row["message_id"]] = modseq
        journal.place(account, row["mailbox_id"]).count(row["flags"], row["size"], -1)
        journal.log(
            account, VANISHED, DESTROYED, row["message_id"], modseq, container=row["mailbox_id"], uid=row["uid"]
        )
    return modseqs


async def discard(journal: Journal, account: AccountId, rows: Sequence[Row]) -> set[MessageId]:
    """Take out membership rows that a statement deleted and remove messages that are in no mailbox any more.

    Returns the messages that are gone; the others have an update in the log.
    """
    if not rows:
        return set()
    modseqs = await take_out(journal, account, rows)
    gone = await journal.connection.fetch(ORPHANS, account, list(modseqs))
    ids = {row["id"] for row in gone}
    for message, modseq in modseqs.items():
        journal.log(account, EMAIL, DESTROYED if message in ids else UPDATED, message, modseq)
    if gone:
        await _clear(journal, account, gone, modseqs)
    return ids


async def _clear(journal: Journal, account: AccountId, gone: Sequence[Row], modseqs: dict[int, int]) -> None:
    connection = journal.connection
    ids = [row["id"] for row in gone]
    journal.counters[account].charge(-sum(row["size"] for row in gone), -len(gone))
    await connection.execute(TEXTS, account, ids)
    await release(connection, REF_MESSAGE, [account] * len(ids), ids)
    touched = {row["thread_id"]: modseqs[row["id"]] for row in sorted(gone, key=lambda row: modseqs[row["id"]])}
    empty = {row["thread_id"] for row in await connection.fetch(EMPTY_THREADS, account, list(touched))}
    if empty:
        await connection.execute(KEYS, account, list(empty))
    for thread, modseq in touched.items():
        journal.log(account, THREAD, DESTROYED if thread in empty else UPDATED, thread, modseq)


async def expunge(
    journal: Journal, account: AccountId, mailbox: MailboxId, uids: Iterable[int] | None, *, only_deleted: bool
) -> list[Uid]:
    """Remove messages from a mailbox, all of them without `uids`; `only_deleted`: those with \\Deleted alone.

    Returns the UIDs that vanished, ascending. Raises MailboxNotFound.
    """
    await journal.places(account, [mailbox])
    if uids is None:
        rows = await journal.connection.fetch(TAKE_ALL_DELETED if only_deleted else TAKE_ALL, account, mailbox)
    else:
        rows = await journal.connection.fetch(TAKE_DELETED if only_deleted else TAKE, account, mailbox, *runs_of(uids))
    await discard(journal, account, rows)
    return sorted(row["uid"] for row in rows)


async def remove_all(journal: Journal, account: AccountId, mailbox: MailboxId) -> None:
    """Empty a mailbox, before it is deleted itself."""
    await expunge(journal, account, mailbox, None, only_deleted=False)


async def destroy(
    journal: Journal, account: AccountId, messages: Sequence[MessageId]
) -> tuple[list[MessageId], list[MessageId]]:
    """Remove messages from every mailbox; returns those destroyed and those that were not there."""
    rows = await journal.connection.fetch(TAKE_MESSAGES, account, messages)
    gone = await discard(journal, account, rows)
    asked = list(dict.fromkeys(messages))
    return [one for one in asked if one in gone], [one for one in asked if one not in gone]
