"""What the change log of a moving account names: read together with the horizon, which says whether it is whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from posthorn_model.errors import CannotCalculateChanges
from posthorn_model.ids import AccountId
from posthorn_storage.codes import UPDATED
from posthorn_storage.database import Connection, Database
from posthorn_storage.mail.kinds import EMAIL, FILE, FOLDER, KIND, THREAD, VANISHED
from posthorn_storage.shards.moving.contents import Named

KINDS: Final = (*KIND.values(), VANISHED, FOLDER, FILE)
_NAMED: Final[Mapping[int, Named]] = {
    kind: "email" if kind == EMAIL else "thread" if kind == THREAD else "item" for kind in KINDS if kind != VANISHED
}
"""An entry of VANISHED comes with one of EMAIL. Ids of collections and the like among those of items do no harm."""

# One statement, so that no purge comes between the horizon and the entries. There is a row even when nothing changed.
CHANGED = """
SELECT c.modseq, c.horizon, l.kind, l.object_id, l.updated
FROM account_counter c LEFT JOIN (
    SELECT kind, object_id, bool_and(op = $4) AS updated FROM change_log
    WHERE account_id = $1 AND kind = ANY ($2::smallint[]) AND modseq > $3 GROUP BY kind, object_id) AS l ON true
WHERE c.account_id = $1
"""


@dataclass(frozen=True, slots=True)
class Changed:
    """The objects of an account that changed after a modseq."""

    modseq: int
    """The account's."""
    horizon: int
    """Entries of the log up to here may be gone."""
    objects: Mapping[Named, frozenset[int]]
    updated: frozenset[int]
    """Of the emails those that were there before and still are: flags and mailboxes of theirs changed."""

    def __len__(self) -> int:
        return sum(map(len, self.objects.values()))


async def changed_since(source: Connection | Database, account: AccountId, modseq: int) -> Changed:
    """What changed after `modseq`. Raises CannotCalculateChanges when the log does not reach back so far."""
    rows = await source.fetch(CHANGED, account, list(_NAMED), modseq, UPDATED)
    if not rows or rows[0]["horizon"] > modseq:
        raise CannotCalculateChanges(account=account, since=modseq)
    objects: dict[Named, set[int]] = {"email": set(), "thread": set(), "item": set()}
    for row in rows:
        if row["kind"] is not None:
            objects[_NAMED[row["kind"]]].add(row["object_id"])
    return Changed(
        rows[0]["modseq"],
        rows[0]["horizon"],
        {named: frozenset(ids) for named, ids in objects.items()},
        frozenset(row["object_id"] for row in rows if row["kind"] == EMAIL and row["updated"]),
    )
