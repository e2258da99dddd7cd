"""UIDs as statements take them: as runs, each of which is looked for in the primary key, and nowhere else.

Of `uid = ANY (...)` the planner may think that the whole mailbox read by another index and compared with the list
costs as much: it believes that an account and a mailbox of it are each by chance what they are, and so expects one
row, and of a mailbox that was filled a minute ago it knows nothing at all. Ten thousand messages times a thousand
UIDs were then what a page of a listing cost. What is joined here has one plan, whatever is known of the tables.
"""

from collections.abc import Iterable

from posthorn_storage.database.plans import few

Runs = tuple[list[int], list[int]]
"""The first and the last UID of each run, ascending."""


def runs_of(uids: Iterable[int]) -> Runs:
    """The runs that UIDs in any order are made of; those that come twice count once."""
    lows: list[int] = []
    highs: list[int] = []
    after = -1
    for uid in sorted(set(uids)):
        if uid != after:
            lows.append(uid)
            highs.append(uid)
        highs[-1] = uid
        after = uid + 1
    return lows, highs


def entries(columns: str) -> str:
    """What to select from: `b` with these columns of the entries of mailbox $2 of account $1, in the runs $3 and $4."""
    return f"""{few("$3::bigint[], $4::bigint[]", "low, high", "run")} CROSS JOIN LATERAL (
    SELECT {columns} FROM mailbox_message
    WHERE account_id = $1 AND mailbox_id = $2 AND uid BETWEEN run.low AND run.high ORDER BY uid OFFSET 0
) AS b"""  # noqa: S608  constants only


MESSAGES = """
CROSS JOIN LATERAL (
    SELECT * FROM message
    WHERE account_id = $1 AND id BETWEEN b.message_id AND b.message_id ORDER BY id OFFSET 0
) AS m"""
"""Joined to `entries` that have their message_id: `m`, the message of each.

In a range and sorted, though it is one: where accounts have few messages each, an index on the account and something
else would do as well, in the planner's eyes, were it not for the order.
"""
