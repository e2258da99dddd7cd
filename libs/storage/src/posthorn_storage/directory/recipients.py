"""Who is behind a recipient: accounts by their address, by an alias, without the detail, or by a domain's catch-all.

It reads; who changes addresses is posthorn_storage.directory. It knows nothing of SMTP. Questions that come while one
is under way are asked together, in one statement after it: nobody waits when it is quiet, and a busy server asks few.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from posthorn_model.ids import AccountId, MailboxId
from posthorn_storage.combiner import Combiner
from posthorn_storage.database import Database
from posthorn_storage.directory import sql
from posthorn_storage.directory.addresses import lookup_keys, splits
from posthorn_storage.mail import view
from posthorn_storage.mail_store import MailStore
from posthorn_storage.settings import SubAddressing
from posthorn_storage.shards import Shards

Owners = dict[str, list[AccountId]]
"""Stored address to the accounts it leads to."""
Room = tuple[int, int | None]
"""Used bytes, and the limit if there is one."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one recipient."""

    accounts: tuple[AccountId, ...] = ()
    """In ascending order; none when nobody has the address."""
    detail: str = ""
    """What stood behind the delimiter, in lower case, when the address was found without it (RFC 5233)."""


NOBODY = Found()
UNKNOWN: Room = (0, None)


class Recipients:
    """See the module. Raises Unavailable and Overloaded."""

    def __init__(self, database: Database, shards: Shards, mail: MailStore, rules: SubAddressing) -> None:
        self._database = database
        self._shards = shards
        self._mail = mail
        self._rules = rules
        self._finding: Combiner[list[str], Owners] = Combiner(self._find_all, window=0.0, parallel=1)
        self._measuring: Combiner[AccountId, Room] = Combiner(self._measure_all, window=0.0, parallel=1)

    @property
    def delimiters(self) -> str:
        """Characters that may stand between user and detail, one at least."""
        return self._rules.delimiters

    def keys(self, address: str) -> tuple[str, ...]:
        """The stored forms that an address is looked up under, the best first; () when it is none."""
        return lookup_keys(address, self._rules.delimiters)

    async def find(self, addresses: Sequence[str]) -> dict[str, Found]:
        """Who each recipient is. At most one query.

        In order: the address itself (account or alias), without its detail, the catch-all of its domain.
        """
        keys = {address: self.keys(address) for address in addresses}
        wanted = list({key for candidates in keys.values() for key in candidates})
        found: Owners = await self._finding.submit(wanted) if wanted else {}
        return {address: self._judge(candidates, found) for address, candidates in keys.items()}

    async def room(self, account: AccountId) -> Room:
        """Used bytes and the limit of an account; (0, None) when it is not there: a delivery will tell."""
        return await self._measuring.submit(account)

    async def named_mailbox(self, account: AccountId, detail: str) -> MailboxId | None:
        """The mailbox that takes mail with this detail; None: the inbox does.

        One at the top with that name in any case of letters, and without a special use: nobody from outside may put
        mail among what was sent, drafted or thrown away. Raises AccountNotFound.
        """
        if not detail or not self._rules.mailboxes:
            return None
        wanted = detail.casefold()
        found = (box for box in await self._mail.mailboxes(account) if not box.parent and box.role is None)
        return next((box.id for box in found if box.name.casefold() == wanted), None)

    async def _find_all(self, questions: Sequence[list[str]]) -> list[Owners]:
        found: Owners = {}
        for row in await self._database.fetch(sql.RESOLVE, list({key for keys in questions for key in keys})):
            found.setdefault(row["address"], []).append(AccountId(row["id"]))
        return [found] * len(questions)

    async def _measure_all(self, accounts: Sequence[AccountId]) -> list[Room]:
        found: dict[AccountId, Room] = {}
        for shard, those in (await self._shards.group(accounts)).items():
            here = await view.quotas(shard.database, those)
            self._shards.placements.forget(set(those) - set(here))  # gone, or moved away: looked for next time
            found |= here
        return [found.get(account, UNKNOWN) for account in accounts]

    def _judge(self, candidates: Sequence[str], found: Owners) -> Found:
        key = next((key for key in candidates if key in found), None)
        if key is None:
            return NOBODY
        local = candidates[0].rpartition("@")[0]
        user = key.rpartition("@")[0]
        detail = next((detail for name, detail in splits(local, self._rules.delimiters) if name == user), "")
        return Found(tuple(sorted(found[key])), detail)
