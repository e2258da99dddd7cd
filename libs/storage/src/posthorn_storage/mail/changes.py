"""What was created, updated and destroyed since a state (RFC 8620 5.2), read from the change log."""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_model.errors import CannotCalculateChanges
from posthorn_model.events import ChangeKind
from posthorn_model.ids import AccountId, Modseq
from posthorn_storage.codes import COUNTED, CREATED, DESTROYED
from posthorn_storage.database import Database, Row
from posthorn_storage.database.plans import later_than
from posthorn_storage.mail.kinds import KIND
from posthorn_storage.mail.view import reached

# One statement, hence one snapshot. A row without a modseq of its own says that there are no changes. For a limit that
# it knows the planner makes the plan anew each time, as for a modseq.
READ = f"""
SELECT c.modseq AS highest, c.horizon, c.state, l.modseq, l.object_id, l.op
FROM account_counter c LEFT JOIN LATERAL (
    SELECT modseq, object_id, op, seq FROM change_log
    WHERE account_id = $1 AND kind = $2 AND {later_than("$3")}
    ORDER BY modseq, seq
    LIMIT (SELECT $4::bigint)) AS l ON true
WHERE c.account_id = $1
ORDER BY l.modseq, l.seq
"""  # noqa: S608  constants only


@dataclass(frozen=True, slots=True)
class Changes:
    """What happened to objects of one kind. Each object is in one list at most."""

    created: list[int]
    updated: list[int]
    destroyed: list[int]
    new_state: Modseq
    has_more: bool
    """`new_state` is not yet the account's: ask again from there."""
    counts_only: bool = False
    """Of mailboxes: nothing but counters changed in those updated (RFC 8621 2.2 updatedProperties)."""


async def changes(
    database: Database, account: AccountId, kind: ChangeKind, since: Modseq, limit: int | None = None
) -> Changes:
    """Changes after state `since`, at most `limit` ids when one is given.

    Raises CannotCalculateChanges behind the horizon, for a state of the future, and where one single commit changed
    more than `limit` mailboxes; AccountNotFound.
    """
    rows = await database.fetch(READ, account, KIND[kind], since, None if limit is None else limit + 1)
    current = reached(rows[0] if rows else None, account, since)
    rows = rows if rows[0]["modseq"] is not None else []
    if limit is None or len(rows) <= limit:
        return _folded(rows, current, has_more=False)
    # A modseq is never cut in two: a reader that continues from it would miss the rest.
    last = rows[limit]["modseq"]
    whole = [row for row in rows if row["modseq"] < last]
    if not whole:
        raise CannotCalculateChanges(account=account, since=since)
    return _folded(whole, Modseq(whole[-1]["modseq"]), has_more=True)


def _folded(rows: Sequence[Row], new_state: Modseq, *, has_more: bool) -> Changes:
    first: dict[int, int] = {}
    last: dict[int, int] = {}
    for row in rows:
        first.setdefault(row["object_id"], row["op"])
        last[row["object_id"]] = row["op"]
    found = Changes([], [], [], new_state, has_more)
    for number, op in last.items():
        if op == DESTROYED:
            if first[number] != CREATED:
                found.destroyed.append(number)
        elif first[number] == CREATED:
            found.created.append(number)
        else:
            found.updated.append(number)
    updated = set(found.updated)
    counted = bool(updated) and all(row["op"] == COUNTED for row in rows if row["object_id"] in updated)
    return Changes(found.created, found.updated, found.destroyed, new_state, has_more, counted)
