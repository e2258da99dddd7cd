"""Changing flags: set arithmetic in the database, one statement however many messages it concerns."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal, TypeAlias

from posthorn_model.errors import InvalidKeyword
from posthorn_model.events import ChangeKind
from posthorn_model.flags import MAX_KEYWORDS, Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId, Modseq, Uid
from posthorn_model.mail import Entry
from posthorn_storage.codes import UPDATED
from posthorn_storage.database import Row
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.kinds import EMAIL
from posthorn_storage.mail.runs import entries, runs_of

ALL_SYSTEM_FLAGS = SystemFlag(sum(SystemFlag))
FlagsOp: TypeAlias = Literal["add", "remove", "replace"]

NEW_FLAGS = {
    "add": "flags | $5::smallint",
    "remove": "flags & ~$5::smallint",
    "replace": "(flags & ~$11::smallint) | $5::smallint",
}
NEW_KEYWORDS = {
    "add": """CASE WHEN keywords @> $6::text[] THEN keywords
        ELSE ARRAY(SELECT DISTINCT k COLLATE "C" AS k FROM unnest(keywords || $6::text[]) AS k ORDER BY k) END""",
    "remove": """CASE WHEN NOT keywords && $6::text[] THEN keywords
        ELSE ARRAY(SELECT k FROM unnest(keywords) AS k WHERE k <> ALL ($6::text[]) ORDER BY k COLLATE "C") END""",
    "replace": "CASE WHEN $12 THEN $6::text[] ELSE keywords END",
}
"""Keywords are kept sorted by code point, so that equal sets are equal arrays."""

# $1 account, $2 mailbox, $3 and $4 runs of UIDs, $5 system flags, $6 keywords (sorted), $7 last modseq in use,
# $8 UNCHANGEDSINCE, $9 kind, $10 op of the log; to replace also: $11 system flags that may change, $12 whether keywords
# may. Messages whose flags stay as they are keep their modseq. The rows are found again by their place, which the
# account's lock keeps: joined by UID, a planner without statistics compares each with all the others.
_SET = """
WITH wanted AS (
    SELECT place, uid, message_id, flags AS old, keywords AS old_keywords, {flags} AS flags, {keywords} AS keywords
    FROM {entries}
    WHERE modseq <= $8::bigint
), differing AS (
    SELECT *, $7::bigint + row_number() OVER (ORDER BY uid) AS modseq
    FROM wanted WHERE flags <> old OR keywords <> old_keywords
), changed AS (
    UPDATE mailbox_message m SET flags = d.flags, keywords = d.keywords, modseq = d.modseq
    FROM differing d WHERE m.ctid = d.place
), logged AS (
    INSERT INTO change_log (account_id, kind, modseq, object_id, op)
    SELECT $1, $9::smallint, modseq, message_id, $10::smallint FROM differing
)
SELECT uid, message_id, flags, keywords, modseq, old FROM differing ORDER BY uid
"""
_ENTRIES = entries("ctid AS place, uid, message_id, flags, keywords, modseq")
SET = {op: _SET.format(flags=NEW_FLAGS[op], keywords=NEW_KEYWORDS[op], entries=_ENTRIES) for op in NEW_FLAGS}

MODIFIED = f"SELECT uid FROM {entries('uid, modseq')} WHERE modseq > $5 ORDER BY uid"  # noqa: S608  constants only

MAX_MODSEQ = 2**63 - 1


@dataclass(frozen=True, slots=True)
class FlagsScope:
    """Which flags may be changed (RFC 4314 2.1: s, t and w); all others stay as they are, whatever is asked for."""

    system: SystemFlag
    keywords: bool


EVERY_FLAG = FlagsScope(ALL_SYSTEM_FLAGS, keywords=True)


@dataclass(frozen=True, slots=True)
class FlagsResult:
    """What a change of flags did."""

    changed: list[Entry]
    """Messages whose flags are now different, by UID."""
    modified: list[Uid]
    """Messages left alone because of `unchanged_since` (RFC 7162 MODIFIED)."""
    modseq: Modseq
    """The account's, after the change."""


@lru_cache(4096)
def flags_of(system: int, keywords: tuple[str, ...]) -> Flags:
    """Flags of stored columns; one object for equal flags, since a mailbox has many messages and few sets of flags."""
    return Flags(SystemFlag(system), frozenset(keywords))


def entry_of(row: Row) -> Entry:
    """Make an Entry of a row that begins with uid, message_id, flags, keywords, modseq."""
    uid, message, system, words, modseq = row[:5]
    return Entry(uid, message, flags_of(system, tuple(words)), modseq)


async def set_flags(
    journal: Journal,
    account: AccountId,
    mailbox: MailboxId,
    uids: Sequence[int],
    *,
    op: FlagsOp,
    flags: Flags,
    unchanged_since: Modseq | None = None,
    within: FlagsScope = EVERY_FLAG,
) -> FlagsResult:
    """Add, remove or replace flags of messages in one mailbox; UIDs that are not there are passed over.

    Raises MailboxNotFound, InvalidKeyword when a message would have too many keywords.
    """
    (place,) = await journal.places(account, [mailbox])
    counter, runs = journal.counters[account], runs_of(uids)
    modified: list[Uid] = []
    if unchanged_since is not None:
        rows = await journal.connection.fetch(MODIFIED, account, mailbox, *runs, unchanged_since)
        modified = [row["uid"] for row in rows]
    rows = await journal.connection.fetch(
        SET[op],
        account,
        mailbox,
        *runs,
        int(flags.system & within.system),
        sorted(flags.keywords) if within.keywords else [],
        counter.modseq,
        MAX_MODSEQ if unchanged_since is None else unchanged_since,
        EMAIL,
        UPDATED,
        *((int(within.system), within.keywords) if op == "replace" else ()),
    )
    if any(len(row["keywords"]) > MAX_KEYWORDS for row in rows):
        raise InvalidKeyword(f"more than {MAX_KEYWORDS} keywords")
    if rows:
        counter.take(len(rows))
        counter.kinds.add(ChangeKind.EMAIL)
        for row in rows:
            place.recount(row["old"], row["flags"])
    return FlagsResult([entry_of(row) for row in rows], modified, Modseq(counter.modseq))
