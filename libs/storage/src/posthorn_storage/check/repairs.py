"""Repairs: for each rule what puts an account right, under its lock, with a modseq and a log entry where clients look.

A repair that finds nothing wrong changes nothing, so all of them run, in this order: what is there first, then what is
told of it, sums before and after. None removes a message.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final

from posthorn_model.errors import MailboxNotFound
from posthorn_model.flags import SystemFlag
from posthorn_model.ids import AccountId
from posthorn_storage.check import repair_sql as sql
from posthorn_storage.check.history_rules import HISTORY_RULES
from posthorn_storage.check.rules import ACCOUNT_RULES
from posthorn_storage.codes import COUNTED, CREATED, DESTROYED, UPDATED
from posthorn_storage.database import affected
from posthorn_storage.mail.copying import NewEntry, insert
from posthorn_storage.mail.expunge import take_out
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import EMAIL, MAILBOX, VANISHED

Repair = Callable[[Journal, AccountId], Awaitable[int]]
"""Returns how many things it put right."""
_STATEMENTS: Final = {rule.name: rule.statement for rule in (*ACCOUNT_RULES, *HISTORY_RULES)}


async def raise_modseq(journal: Journal, account: AccountId) -> int:
    """The account's modseq goes above all that is there, so that a reader misses no later change."""
    counter = journal.counters[account]
    highest = await journal.connection.fetchval(sql.HIGHEST, account)
    if highest <= counter.modseq:
        return 0
    counter.modseq = highest
    counter.take()
    return 1


async def give_inbox(journal: Journal, account: AccountId) -> int:
    """The mailbox of that name is the inbox, or a new one."""
    counter = journal.counters[account]
    for statement, op in ((sql.NAMED_INBOX, UPDATED), (sql.NEW_INBOX, CREATED)):
        arguments = (counter.take_uidvalidity(),) if op == CREATED else ()
        found = await journal.connection.fetchval(statement, account, counter.modseq + 1, *arguments)
        if found is not None:
            journal.log(account, MAILBOX, op, found, counter.take())
            return 1
    return 0


async def root_mailboxes(journal: Journal, account: AccountId) -> int:
    """A mailbox that hangs nowhere comes to the top, with all below it."""
    count = 0
    while (found := await journal.connection.fetchval(sql.UNREACHABLE, account)) is not None:
        modseq = journal.counters[account].take()
        await journal.connection.execute(sql.TO_THE_TOP, account, found, modseq)
        journal.log(account, MAILBOX, UPDATED, found, modseq)
        count += 1
    return count


async def drop_empty_entries(journal: Journal, account: AccountId) -> int:
    """An entry without a message vanishes; one with another size than its message's gets that."""
    rows = await journal.connection.fetch(sql.EMPTY_ENTRIES, account)
    for row in rows:
        modseq = journal.counters[account].take()
        journal.log(
            account, VANISHED, DESTROYED, row["message_id"], modseq, container=row["mailbox_id"], uid=row["uid"]
        )
        journal.log(account, EMAIL, UPDATED, row["message_id"], modseq)
    return len(rows) + affected(await journal.connection.execute(sql.SIZES, account))


async def house_messages(journal: Journal, account: AccountId) -> int:
    """A message that is in no mailbox comes into the inbox, unread."""
    rows = await journal.connection.fetch(sql.HOMELESS, account)
    if rows:
        await journal.load([account], [])
        place, counter = journal.inbox(account), journal.counters[account]
        entries = [NewEntry(place, row["id"], counter.take(), row["size"], int(SystemFlag.NONE), ()) for row in rows]
        await insert(journal, account, entries)
        for entry in entries:
            journal.log(account, EMAIL, UPDATED, entry.message, entry.modseq)
    return len(rows)


async def renumber_returned(journal: Journal, account: AccountId) -> int:
    """An entry whose UID had vanished gets a new one; the old one vanishes again, for those who saw it."""
    rows = await journal.connection.fetch(sql.RETURNED, account)
    for message, modseq in (await take_out(journal, account, rows)).items():
        journal.log(account, EMAIL, UPDATED, message, modseq)
    counter = journal.counters[account]
    fresh = {row["message_id"]: counter.take() for row in rows}
    entries = [
        NewEntry(
            journal.place(account, row["mailbox_id"]),
            row["message_id"],
            fresh[row["message_id"]],
            row["size"],
            row["flags"],
            row["keywords"],
        )
        for row in sorted(rows, key=lambda row: row["uid"])
    ]
    await insert(journal, account, entries)
    for message, modseq in fresh.items():
        journal.log(account, EMAIL, UPDATED, message, modseq)
    return len(rows)


async def tell_messages(journal: Journal, account: AccountId) -> int:
    """A message that the log does not tell of comes now."""
    rows = await journal.connection.fetch(_STATEMENTS["untold-message"], [account])
    messages = sorted({row["message"] for row in rows})
    first = await _restamp(journal, account, sql.RESTAMP_MESSAGES, messages)
    for place, message in enumerate(messages):
        journal.log(account, EMAIL, CREATED, message, first + place)
    return len(messages)


async def tell_entries(journal: Journal, account: AccountId) -> int:
    """Entries whose change the log does not tell of, or that share a modseq with others, change now."""
    untold = await journal.connection.fetch(_STATEMENTS["untold-entry"], [account])
    shared = await journal.connection.fetch(_STATEMENTS["modseq-shared"], [account])
    messages = {row["message"] for row in untold}
    if shared:
        rows = await journal.connection.fetch(sql.OF_MODSEQS, account, [row["modseq"] for row in shared])
        messages |= {row["message_id"] for row in rows}
    first = await _restamp(journal, account, sql.RESTAMP_ENTRIES, sorted(messages))
    for place, message in enumerate(sorted(messages)):
        journal.log(account, EMAIL, UPDATED, message, first + place)
    return len(messages)


async def tell_items(journal: Journal, account: AccountId) -> int:
    """An item whose change the log does not tell of changes now; its collection is not behind it."""
    rows = await journal.connection.fetch(_STATEMENTS["untold-item"], [account])
    kinds = await journal.connection.fetch(sql.ITEM_KINDS, account, sorted({row["item"] for row in rows}))
    first = await _restamp(journal, account, sql.RESTAMP_ITEMS, [row["id"] for row in kinds])
    for place, row in enumerate(kinds):
        journal.log(account, row["kind"], UPDATED, row["id"], first + place)
    return len(kinds)


async def start_over(journal: Journal, account: AccountId) -> int:
    """Where the log tells that what is there was destroyed, clients start over: its horizon moves to now."""
    rows = await journal.connection.fetch(_STATEMENTS["destroyed-returned"], [account])
    if rows:
        await journal.connection.execute(sql.START_OVER, account, journal.counters[account].take())
    return len(rows)


async def recount(journal: Journal, account: AccountId) -> int:
    """Counts, UIDNEXT and modseq of mailboxes are those of their entries."""
    counter = journal.counters[account]
    rows = await journal.connection.fetch(sql.RECOUNT, account, counter.modseq)
    counter.take(len(rows))
    for row in rows:
        journal.log(account, MAILBOX, COUNTED, row["id"], row["modseq"])
    return len(rows)


async def sum_up(journal: Journal, account: AccountId) -> int:
    """What the account has used is the sum of what it has."""
    counter = journal.counters[account]
    row = await journal.connection.fetchrow(sql.SUMS, account)
    if (counter.used_bytes, counter.used_messages) == (row["bytes"], row["messages"]):
        return 0
    counter.used_bytes, counter.used_messages = row["bytes"], row["messages"]
    counter.take()
    return 1


def _plain(*statements: str) -> Repair:
    """A repair that no client need hear of."""

    async def repair(journal: Journal, account: AccountId) -> int:
        return sum([affected(await journal.connection.execute(statement, account)) for statement in statements])

    return repair


async def let_go(journal: Journal, account: AccountId) -> int:
    """References of messages that are not there go, and their blobs onto the collector's list."""
    count: int = await journal.connection.fetchval(sql.STRAY, account)
    return count


async def _restamp(journal: Journal, account: AccountId, statement: str, objects: Sequence[int]) -> int:
    """Give each object a modseq of its own, by id; returns the first. Mailboxes of entries are not behind them."""
    counter = journal.counters[account]
    if objects:
        rows = await journal.connection.fetch(statement, account, counter.modseq, objects)
        mailboxes = {row["mailbox_id"] for row in rows}
        await journal.load([account], mailboxes)
        for mailbox in mailboxes:
            try:
                journal.place(account, mailbox).touched = True
            except MailboxNotFound:
                continue
    return counter.take(len(objects)) if objects else 0


SUM_REPAIRS: Final[Mapping[str, Repair]] = {
    "modseq-order": raise_modseq,
    "mailbox-counts": recount,
    "account-counts": sum_up,
}
"""They run in a transaction of their own, before and after the others; `recount` puts "uid-order" right too."""

REPAIRS: Final[Mapping[str, Repair]] = {
    "no-inbox": give_inbox,
    "mailbox-tree": root_mailboxes,
    "entry-without-message": drop_empty_entries,
    "homeless-message": house_messages,
    "search-text": _plain(sql.NO_TEXT, sql.NO_MESSAGE),
    "search-index": _plain(sql.UNINDEXED, sql.STRAY_WORDS),
    "thread-key": _plain(sql.DEAD_KEYS),
    "message-blob": _plain(sql.HOLD_BLOBS),
    "stray-reference": let_go,
    "uid-returned": renumber_returned,
    "untold-message": tell_messages,
    "untold-entry": tell_entries,
    "untold-item": tell_items,
    "item-collection": _plain(sql.COLLECTIONS),
    "destroyed-returned": start_over,
    "right-without-mailbox": _plain(sql.RIGHTS),
}
"""`tell_entries` puts "modseq-shared" right too."""

HOME_REPAIRS: Final[Mapping[str, Repair]] = {"share-not-found": _plain(sql.WAYS)}
