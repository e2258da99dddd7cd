"""Changing messages as JMAP sees them: keywords and mailboxes of a message as a whole (RFC 8621 4.6).

IMAP keeps flags per mailbox; a keyword of a message is on when any of its entries has it, $seen only when all have it,
and a change here sets it on all entries alike. \\Deleted is IMAP's alone and stays as it is.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_model.errors import InvalidKeyword, MessageNotFound, NotPermitted, PosthornError
from posthorn_model.flags import MAX_KEYWORDS, NO_FLAGS, Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId, MessageId
from posthorn_storage.codes import UPDATED
from posthorn_storage.database import Row
from posthorn_storage.database.plans import few
from posthorn_storage.mail.copying import NewEntry, insert
from posthorn_storage.mail.expunge import take_out
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import EMAIL

SEEN, DELETED = int(SystemFlag.SEEN), int(SystemFlag.DELETED)

ENTRIES = """
SELECT mailbox_id, uid, message_id, modseq, size, flags, keywords FROM mailbox_message
WHERE account_id = $1 AND message_id = ANY ($2::bigint[])
ORDER BY message_id, mailbox_id
"""

# Of the entries named by mailbox and UID in `n`, `e` with their places, which the account's lock keeps; see each_of.
_PLACE = """CROSS JOIN LATERAL (
    SELECT ctid AS place FROM mailbox_message
    WHERE account_id = $1 AND mailbox_id = n.mailbox_id AND uid BETWEEN n.uid AND n.uid ORDER BY uid OFFSET 0) AS e"""

LEAVE = f"""
DELETE FROM mailbox_message m USING (
    SELECT e.place FROM {few("$2::bigint[], $3::bigint[]", "mailbox_id, uid", "n")} {_PLACE}) AS old
WHERE m.ctid = old.place
RETURNING m.mailbox_id, m.uid, m.message_id, m.modseq, m.size, m.flags, m.keywords
"""  # noqa: S608  constants only

_REFLAGGED = few(
    "$2::bigint[], $3::bigint[], $4::smallint[], $5::text[], $6::bigint[]",
    "mailbox_id, uid, flags, keywords, modseq",
    "n",
)
REFLAG = f"""
UPDATE mailbox_message m SET flags = n.flags, keywords = string_to_array(n.keywords, ' '), modseq = n.modseq
FROM (SELECT n.flags, n.keywords, n.modseq, e.place FROM {_REFLAGGED} {_PLACE}) AS n
WHERE m.ctid = n.place
"""  # noqa: S608  constants only


@dataclass(frozen=True, slots=True)
class MessageUpdate:
    """A change of one message: replacements first, then what is added, then what is removed."""

    id: MessageId
    flags: Flags | None = None
    """All flags from now on."""
    add_flags: Flags = NO_FLAGS
    remove_flags: Flags = NO_FLAGS
    mailboxes: frozenset[MailboxId] | None = None
    """All mailboxes from now on."""
    add_mailboxes: frozenset[MailboxId] = frozenset()
    remove_mailboxes: frozenset[MailboxId] = frozenset()


@dataclass(slots=True)
class _Work:
    """What all updates of one unit of work come to."""

    leaving: list[Row]
    reflagged: list[tuple[int, int, int, str, int]]
    arriving: list[NewEntry]


def shown_flags(entries: Sequence[tuple[int, frozenset[str]]]) -> Flags:
    """The flags of a message that is in several mailboxes: the union, but seen only where seen everywhere."""
    system, words = 0, frozenset[str]()
    for bits, keywords in entries:
        system |= bits
        words |= keywords
    if not all(bits & SEEN for bits, _ in entries):
        system &= ~SEEN
    return Flags(SystemFlag(system & ~DELETED), words)


async def update_messages(
    journal: Journal, account: AccountId, updates: Sequence[MessageUpdate]
) -> dict[MessageId, PosthornError | None]:
    """Apply each update, or say why not: MessageNotFound, MailboxNotFound, NotPermitted (in no mailbox at all),
    InvalidKeyword (too many).

    Several updates of one message are applied as the last of them alone.
    """
    wanted = {update.id: update for update in updates}
    entries: dict[int, list[Row]] = {}
    for row in await journal.connection.fetch(ENTRIES, account, list(wanted)):
        entries.setdefault(row["message_id"], []).append(row)
    boxes = {row["mailbox_id"] for rows in entries.values() for row in rows}
    for update in wanted.values():
        boxes |= (update.mailboxes or frozenset()) | update.add_mailboxes
    await journal.load([account], boxes)
    work = _Work([], [], [])
    outcomes: dict[MessageId, PosthornError | None] = {}
    for update in wanted.values():
        try:
            _plan(journal, account, update, entries.get(update.id, []), work)
            outcomes[update.id] = None
        except PosthornError as error:
            outcomes[update.id] = error
    await _write(journal, account, work)
    return outcomes


def _plan(journal: Journal, account: AccountId, update: MessageUpdate, rows: Sequence[Row], work: _Work) -> None:
    if not rows:
        raise MessageNotFound(account=account, message=update.id)
    present = {row["mailbox_id"] for row in rows}
    wanted = present if update.mailboxes is None else set(update.mailboxes)
    wanted = (wanted | update.add_mailboxes) - update.remove_mailboxes
    if not wanted:
        raise NotPermitted("a message must be in at least one mailbox", message=update.id)
    arriving = [journal.place(account, mailbox) for mailbox in sorted(wanted - present)]
    shown = shown_flags([(row["flags"], frozenset(row["keywords"])) for row in rows])
    flags = _changed(shown, update)
    system, words = int(flags.system), sorted(flags.keywords)
    reset = flags != shown
    staying = [
        row
        for row in rows
        if row["mailbox_id"] in wanted and reset and (row["flags"] & ~DELETED != system or row["keywords"] != words)
    ]
    leaving = [row for row in rows if row["mailbox_id"] not in wanted]
    if not (staying or leaving or arriving):
        return
    modseq = journal.counters[account].take()
    journal.log(account, EMAIL, UPDATED, update.id, modseq)
    for row in staying:
        bits = system | (row["flags"] & DELETED)
        journal.place(account, row["mailbox_id"]).recount(row["flags"], bits)
        work.reflagged.append((row["mailbox_id"], row["uid"], bits, " ".join(words), modseq))
    work.leaving.extend(leaving)
    work.arriving.extend(NewEntry(place, update.id, modseq, rows[0]["size"], system, words) for place in arriving)


def _changed(shown: Flags, update: MessageUpdate) -> Flags:
    flags = shown if update.flags is None else update.flags
    system = (flags.system | update.add_flags.system) & ~update.remove_flags.system
    words = (flags.keywords | update.add_flags.keywords) - update.remove_flags.keywords
    if len(words) > MAX_KEYWORDS:
        raise InvalidKeyword(f"more than {MAX_KEYWORDS} keywords")
    return Flags(SystemFlag(int(system) & ~DELETED), words)


async def _write(journal: Journal, account: AccountId, work: _Work) -> None:
    if work.leaving:
        rows = await journal.connection.fetch(
            LEAVE, account, [row["mailbox_id"] for row in work.leaving], [row["uid"] for row in work.leaving]
        )
        await take_out(journal, account, rows)
    if work.reflagged:
        columns = [list(column) for column in zip(*work.reflagged, strict=True)]
        await journal.connection.execute(REFLAG, account, *columns)
    await insert(journal, account, work.arriving)
