"""Who is behind a recipient: accounts, others elsewhere, and lists; by its address, an alias, a group, a forward,
without the detail, or by a domain's catch-all.

It reads; who changes addresses is posthorn_storage.directory. It knows nothing of SMTP. Questions that come while one
is under way are asked together, in one statement after it: nobody waits when it is quiet, and a busy server asks few.
Who was found is remembered for seconds, and forgotten when the directory changes; that nobody was found never is.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from posthorn_model.errors import TooMany
from posthorn_model.ids import AccountId, MailboxId
from posthorn_storage.combiner import Combiner
from posthorn_storage.database import Database, Row
from posthorn_storage.directory import sql
from posthorn_storage.directory.addresses import lookup_keys, splits
from posthorn_storage.directory.distributions import MAX_GROUP, MAX_MEMBERS, Distribution
from posthorn_storage.mail import view
from posthorn_storage.mail_store import MailStore
from posthorn_storage.recent import Recent
from posthorn_storage.settings import SubAddressing
from posthorn_storage.shards import Shards

Room = tuple[int, int | None]
"""Used bytes, and the limit if there is one."""

SECONDS: Final = 3.0
"""How old an answer may be, where no change of the directory is heard of sooner."""
REMEMBERED: Final = 50_000
"""Addresses whose answer is remembered."""
ROOMY: Final = 256 * 1024 * 1024
"""Octets of room that an account does not lose within these seconds: with less its room is looked at each time."""
MAX_DEPTH = 8
"""Groups within groups that are followed for one recipient."""
LIST_ROLES = ("bounces", "owner", "request")
"""What may stand behind the name of a list: mail to it is the owner's (RFC 2142 6)."""


@dataclass(frozen=True, slots=True)
class Found:
    """What is known of one recipient; all empty when nobody has the address."""

    accounts: tuple[AccountId, ...] = ()
    """In ascending order."""
    detail: str = ""
    """What stood behind the delimiter, in lower case, when the address was found without it (RFC 5233)."""
    remote: tuple[str, ...] = ()
    """Addresses elsewhere that it is passed on to."""
    lists: tuple[str, ...] = ()
    """Lists that it is for: itself, or members of a group."""
    key: str = ""
    """The address as it was found, in its stored form."""
    posting: str = ""
    """Who may write to it beside its owner: "anyone", "members" or "nobody", when it is a list itself."""
    owner: str = ""
    """Of a list."""
    rooms: Mapping[AccountId, Room] = field(default_factory=dict, compare=False)
    """Of those accounts where it came with the answer: of an address of their own, and living at home."""

    @property
    def known(self) -> bool:
        """Whether the address leads to anybody."""
        return bool(self.accounts or self.remote or self.lists)

    @property
    def lasting(self) -> bool:
        """Whether it will do for some seconds: somebody was found, and whoever's room is told has plenty."""
        return self.known and all(limit is None or limit - used >= ROOMY for used, limit in self.rooms.values())


NOBODY = Found()
UNKNOWN: Room = (0, None)


@dataclass(slots=True)
class _Behind:
    """What the directory has under one key."""

    accounts: list[AccountId]
    kind: str = ""
    members: Sequence[str] = ()
    owner: str = ""
    posting: str = ""
    rooms: dict[AccountId, Room] = field(default_factory=dict)


class Recipients:
    """See the module. Raises Unavailable and Overloaded."""

    def __init__(
        self, database: Database, shards: Shards, mail: MailStore, rules: SubAddressing, monotonic: Callable[[], float]
    ) -> None:
        self._database = database
        self._shards = shards
        self._mail = mail
        self._rules = rules
        self._recent: Recent[str, Found] = Recent(monotonic, SECONDS, REMEMBERED)
        self._finding: Combiner[list[str], dict[str, _Behind]] = Combiner(self._find_all, window=0.0, parallel=1)
        self._measuring: Combiner[AccountId, Room] = Combiner(self._measure_all, window=0.0, parallel=1)

    @property
    def delimiters(self) -> str:
        """Characters that may stand between user and detail, one at least."""
        return self._rules.delimiters

    def keys(self, address: str) -> tuple[str, ...]:
        """The stored forms that an address is looked up under, the best first; () when it is none."""
        return lookup_keys(address, self._rules.delimiters)

    def forget(self) -> None:
        """Drop what is remembered: the directory changed, here or elsewhere."""
        self._recent.forget()

    async def find(self, addresses: Sequence[str]) -> dict[str, Found]:
        """Who each recipient is; up to 3 s old. At most one query, and two more for each level of members.

        In order: the address itself (account, alias, group, list), without its detail, the catch-all of its domain.
        Raises TooMany for one that leads to too many, or through too many groups.
        """
        found, mark = self._recent.fresh(addresses), self._recent.mark
        candidates = {address: self._candidates(address) for address in addresses if address not in found}
        known = await self._read([key for keys in candidates.values() for key in keys])
        for address, keys in candidates.items():
            found[address] = await self._expand(keys, known)
            if found[address].lasting:
                self._recent.remember(address, found[address], mark)
        return {address: found[address] for address in addresses}

    def writers(self, sender: str) -> tuple[str, ...]:
        """The addresses that a sender counts as: its own, without the detail, and the list whose name it sends in."""
        return tuple(key for key in self._candidates(sender) if not key.startswith("@"))

    async def members(self, mailing: Distribution) -> Found:
        """Everybody whom a list leads to. Raises TooMany."""
        behind = _Behind([], "group", mailing.members)
        accounts, remote, lists = await self._follow(mailing.address, behind, list(mailing.members), MAX_MEMBERS)
        return Found(tuple(sorted(accounts)), "", tuple(remote), tuple(lists), mailing.address)

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

    def _candidates(self, address: str) -> tuple[str, ...]:
        """The keys, and among them that of the list that the address may be a role of."""
        keys = self.keys(address)
        local, _, domain = keys[0].rpartition("@") if keys else ("", "", "")
        name, dash, role = local.rpartition("-")
        return (*keys[:-1], f"{name}@{domain}", keys[-1]) if dash and name and role in LIST_ROLES else keys

    async def _read(self, keys: Sequence[str]) -> dict[str, _Behind]:
        return await self._finding.submit(list(dict.fromkeys(keys))) if keys else {}

    async def _find_all(self, questions: Sequence[list[str]]) -> list[dict[str, _Behind]]:
        """One answer for all, in which each finds its own keys. A forward without an account is none any more."""
        found: dict[str, _Behind] = {}
        for row in await self._database.fetch(sql.RESOLVE, list({key for keys in questions for key in keys})):
            _add(found.setdefault(row["address"], _Behind([])), row)
        there = {key: behind for key, behind in found.items() if behind.accounts or behind.kind in ("group", "list")}
        return [there] * len(questions)

    async def _measure_all(self, accounts: Sequence[AccountId]) -> list[Room]:
        found: dict[AccountId, Room] = {}
        for shard, those in (await self._shards.group(accounts)).items():
            here = await view.quotas(shard.database, those)
            self._shards.placements.forget(set(those) - set(here))  # gone, or moved away: looked for next time
            found |= here
        return [found.get(account, UNKNOWN) for account in accounts]

    async def _expand(self, candidates: Sequence[str], known: Mapping[str, _Behind]) -> Found:
        own = self._best(candidates, known)
        if own is None:
            return NOBODY
        key, behind = own
        if behind.kind == "list" and candidates[0] != key and _role_of(candidates[0], key):
            members: list[str] = [behind.owner]
        elif behind.kind == "list":
            return Found(lists=(key,), key=key, posting=behind.posting, owner=behind.owner)
        elif not behind.kind:
            detail = self._detail(candidates[0], key)
            return Found(tuple(sorted(behind.accounts)), detail, key=key, rooms=behind.rooms)
        else:
            members = list(behind.members)
        accounts, remote, lists = await self._follow(key, behind, members)
        return Found(tuple(sorted(accounts)), "", tuple(remote), tuple(lists), key)

    async def _follow(
        self, key: str, behind: _Behind, members: list[str], most: int = MAX_GROUP
    ) -> tuple[set[AccountId], dict[str, None], dict[str, None]]:
        """All that members lead to, level by level; who was met before is not followed again."""
        accounts: set[AccountId] = set()
        remote: dict[str, None] = {}
        lists: dict[str, None] = {}
        if behind.kind != "forward" or key in members:  # of a forward: the account itself is to have it too
            accounts.update(behind.accounts)
        seen = {key}
        for _ in range(MAX_DEPTH):
            members = [member for member in dict.fromkeys(members) if member not in seen]
            if not members:
                return accounts, remote, lists
            seen.update(members)
            if len(seen) > most + 1:
                raise TooMany("the address leads to too many others", address=key)
            domains = {row["name"] for row in await self._database.fetch(sql.LOCAL_AMONG, _domains(members))}
            here = {each: self._candidates(each) for each in members if each.rpartition("@")[2] in domains}
            remote.update(dict.fromkeys(each for each in members if each not in here))
            known = await self._read([one for keys in here.values() for one in keys])
            members = []
            for keys in here.values():
                best = self._best(keys, known)
                if best is None:
                    continue
                name, next_one = best
                if next_one.kind == "list":
                    lists[name] = None
                elif next_one.kind:
                    members += next_one.members
                    if next_one.kind != "forward" or name in next_one.members:
                        accounts.update(next_one.accounts)
                else:
                    accounts.update(next_one.accounts)
        raise TooMany("the address leads through too many groups", address=key)

    def _best(self, candidates: Sequence[str], known: Mapping[str, _Behind]) -> tuple[str, _Behind] | None:
        for place, key in enumerate(candidates):
            behind = known.get(key)
            if behind is None:
                continue
            is_role = place > 0 and not key.startswith("@") and key not in self.keys(candidates[0])
            if not is_role or behind.kind == "list":
                return key, behind
        return None

    def _detail(self, address: str, key: str) -> str:
        local, user = address.rpartition("@")[0], key.rpartition("@")[0]
        return next((detail for name, detail in splits(local, self._rules.delimiters) if name == user), "")


def _add(behind: _Behind, row: Row) -> None:
    if row["own"] is not None:  # an alias of an account that has a forward
        behind.kind = "group"
        behind.members = [*behind.members, row["own"]]
    elif row["id"] is not None:
        behind.accounts.append(AccountId(row["id"]))
        if row["used"] is not None:
            behind.rooms[AccountId(row["id"])] = (row["used"], row["room"])
    else:
        behind.kind, behind.members = row["kind"], row["members"] or ()
        behind.owner, behind.posting = row["owner"], row["posting"]


def _role_of(address: str, key: str) -> bool:
    local, name = address.rpartition("@")[0], key.rpartition("@")[0]
    return any(local == f"{name}-{role}" for role in LIST_ROLES)


def _domains(addresses: Sequence[str]) -> list[str]:
    return list({address.rpartition("@")[2] for address in addresses})
