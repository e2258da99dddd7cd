"""MailStore: the one door to the mail of all accounts. Each method is one unit of work, told in the module it calls.

Methods raise posthorn_model.errors; besides what each names, all raise Unavailable and Overloaded, and those that
change something raise AccountNotFound.
"""
# size: one method for each unit of work, and callers know one door

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from typing import Literal
from uuid import UUID

from posthorn_model.errors import PosthornError
from posthorn_model.events import ChangeKind
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId, MessageId, Modseq, ThreadId, Uid
from posthorn_model.mail import Appended, Entry, Mailbox, NewMessage, Role
from posthorn_model.queue_items import NewQueueMessage
from posthorn_model.rights import Right
from posthorn_storage.database import Connection, Row
from posthorn_storage.index.resolve import resolved
from posthorn_storage.mail import (
    changes,
    copying,
    expunge,
    flags,
    mailboxes,
    messages,
    metadata,
    replacing,
    rights,
    search_sql,
    sorting,
    subscriptions,
    threads,
    url_keys,
    view,
)
from posthorn_storage.mail.append import append_in
from posthorn_storage.mail.changes import Changes
from posthorn_storage.mail.columns import Column, columns_by_uid
from posthorn_storage.mail.copying import Copied
from posthorn_storage.mail.counters import Counters
from posthorn_storage.mail.delivery import Delivery
from posthorn_storage.mail.flags import EVERY_FLAG, FlagsOp, FlagsResult, FlagsScope
from posthorn_storage.mail.journal import Journal
from posthorn_storage.mail.mailboxes import KEEP, MailboxChange
from posthorn_storage.mail.messages import MessageFields, PlacedMessage, StoredMessage
from posthorn_storage.mail.rights import RightsEntry, RightsOp, SharedMailbox, Shares
from posthorn_storage.mail.search import SearchQuery, SearchResult
from posthorn_storage.mail.sorting import SortFacts, SortFields
from posthorn_storage.mail.thread_counts import ThreadCounts, thread_counts
from posthorn_storage.mail.updates import MessageUpdate, update_messages
from posthorn_storage.mail.view import MailboxView
from posthorn_storage.shards import Shard, Shards


class MailStore:
    """Mail of all accounts, on whatever shards they live. `duplicate_window` is in seconds."""

    def __init__(self, shards: Shards, *, duplicate_window: float = 300.0) -> None:
        self._shards = shards
        self._change = shards.change
        self._reading = shards.reading
        self._read = shards.read
        self._shares = Shares(shards.home.database)
        self._window = duplicate_window
        self._counters = {shard: Counters(shard.database) for shard in shards}

    async def close(self) -> None:
        """Store deliveries that wait; call it before the databases are closed."""
        for shard in self._shards:
            await shard.deliveries.close()

    # Storing

    async def append(self, new: Sequence[NewMessage]) -> list[Appended]:
        """Store messages, of several accounts too: all or none of those on one shard, in one transaction.

        Raises MailboxNotFound, OverQuota.
        """
        return await self._by_shard(new, self._append_on)

    async def deliver(
        self, new: Sequence[NewMessage] | NewMessage, enqueue: Sequence[NewQueueMessage] = ()
    ) -> list[Appended]:
        """Store one delivery (all its messages and its queue messages, or nothing) together with concurrent ones.

        Where its accounts live on several shards it is one transaction for each, the home's with the queue messages the
        last; a delivery that is repeated after a failure stores what is missing (design law 7). Returns one result for
        each message, in order. Raises MailboxNotFound, OverQuota, AccountNotFound.
        """
        own = [new] if isinstance(new, NewMessage) else list(new)
        home = self._shards.home

        async def deliver_on(shard: Shard, messages: Sequence[NewMessage]) -> list[Appended]:
            queued = enqueue if shard is home else ()
            return await shard.deliveries.deliver(Delivery(messages, queued))

        return await self._by_shard(own, deliver_on, always=home if enqueue else None)

    def acknowledged(self, deliveries: Iterable[UUID]) -> None:
        """The replies to these deliveries reached their client, so equal content from now on is no repeat."""
        known = list(deliveries)
        for shard in self._shards:
            shard.deliveries.acknowledged(known)

    async def _append_on(self, shard: Shard, new: Sequence[NewMessage]) -> list[Appended]:
        """One message is stored with what else this process stores now, several in a transaction of their own."""
        if len(new) == 1:
            return await shard.deliveries.deliver(Delivery(new, ()))

        async def unit(connection: Connection) -> tuple[list[Appended], Journal]:
            return await append_in(shard.units, connection, new, window=self._window)

        return await shard.units.run(unit)

    async def _by_shard(
        self,
        new: Sequence[NewMessage],
        store: Callable[[Shard, Sequence[NewMessage]], Awaitable[list[Appended]]],
        *,
        always: Shard | None = None,
    ) -> list[Appended]:
        """Store the messages shard by shard, `always` too if no message is for it; results in the given order."""
        accounts = [message.account for message in new]
        if (only := self._shards.only) is not None:
            return await self._shards.follow(accounts, lambda: store(only, new)) if new or always else []
        found: dict[int, Appended] = {}
        done = False

        async def store_missing() -> None:
            nonlocal done
            left = [n for n in range(len(new)) if n not in found]
            grouped = await self._shards.group(new[n].account for n in left)
            for shard, accounts in grouped.items():
                here = set(accounts)
                chosen = [n for n in left if new[n].account in here]
                found.update(zip(chosen, await store(shard, [new[n] for n in chosen]), strict=True))
                done = done or shard is always
            if always is not None and not done:
                await store(always, ())

        await self._shards.follow(accounts, store_missing)
        return [found[n] for n in range(len(new))]

    # Mailboxes

    async def mailboxes(self, account: AccountId) -> list[Mailbox]:
        """Every mailbox, by sort order and name."""
        return await self._read(account, lambda database: mailboxes.all_of(database, account))

    async def mailboxes_at(self, account: AccountId) -> tuple[list[Mailbox], Modseq]:
        """As `mailboxes`, and the account's modseq at the same instant. Raises AccountNotFound."""
        return await self._read(account, lambda database: view.mailboxes(database, account))

    async def mailboxes_of(self, accounts: Iterable[AccountId]) -> dict[AccountId, list[Mailbox]]:
        """Every mailbox of several accounts: one query for each shard."""
        found: dict[AccountId, list[Mailbox]] = {}
        for shard, those in (await self._shards.group(accounts)).items():
            found |= await mailboxes.all_of_many(shard.database, those)
        return found

    async def mailboxes_with(self, role: Role, accounts: Iterable[AccountId]) -> dict[AccountId, MailboxId]:
        """The mailbox of a special use, of each account that has one: one query for each shard."""
        found: dict[AccountId, MailboxId] = {}
        for shard, those in (await self._shards.group(accounts)).items():
            found |= await mailboxes.with_role(shard.database, those, role)
        return found

    async def mailbox(self, account: AccountId, mailbox: MailboxId) -> Mailbox:
        """Raises MailboxNotFound."""
        return await self._read(account, lambda database: mailboxes.one(database, account, mailbox))

    async def create_mailbox(
        self,
        account: AccountId,
        name: str,
        parent: MailboxId | Literal[0] = 0,
        role: Role | None = None,
        *,
        subscribed: bool = True,
        sort_order: int = 0,
    ) -> Mailbox:
        """Raises AlreadyExists (name or role), InvalidName, MailboxNotFound (parent), TooMany."""

        async def work(journal: Journal) -> Mailbox:
            return await mailboxes.create(
                journal, account, name, MailboxId(parent), role, subscribed=subscribed, sort_order=sort_order
            )

        return await self._change(account, work)

    async def update_mailbox(
        self,
        account: AccountId,
        mailbox: MailboxId,
        *,
        name: str | None = None,
        parent: MailboxId | Literal[0] | None = None,
        role: Role | Literal["keep"] | None = KEEP,
        subscribed: bool | None = None,
        sort_order: int | None = None,
    ) -> Mailbox:
        """Change what is given. Raises MailboxNotFound, AlreadyExists, InvalidName, NotPermitted (the inbox)."""
        change = MailboxChange(name, None if parent is None else MailboxId(parent), role, subscribed, sort_order)

        async def work(journal: Journal) -> Mailbox:
            return await mailboxes.update(journal, account, mailbox, change)

        return await self._change(account, work)

    async def delete_mailbox(self, account: AccountId, mailbox: MailboxId, *, remove_messages: bool) -> None:
        """Raises MailboxNotFound, MailboxHasChildren, MailboxNotEmpty, NotPermitted (the inbox)."""

        async def work(journal: Journal) -> None:
            await mailboxes.delete(journal, account, mailbox, remove_messages=remove_messages)

        await self._change(account, work)

    async def rename_inbox(self, account: AccountId, name: str, parent: MailboxId | Literal[0] = 0) -> Mailbox:
        """Move all messages of the inbox into a new mailbox (RFC 9051 6.3.6). Raises as `create_mailbox` does."""

        async def work(journal: Journal) -> Mailbox:
            made = await mailboxes.create(
                journal, account, name, MailboxId(parent), None, subscribed=True, sort_order=0
            )
            await journal.load([account], [])
            inbox = MailboxId(journal.inbox(account).id)
            await copying.move(journal, account, inbox, None, made.id)
            return made

        made = await self._change(account, work)
        return await self.mailbox(account, made.id)

    # Rights

    async def rights(self, account: AccountId, mailbox: MailboxId) -> list[RightsEntry]:
        """The entries of others for a mailbox; the owner has every right without one. Raises MailboxNotFound."""
        database = await self._reading(account)
        await mailboxes.one(database, account, mailbox)
        return await rights.entries(database, account, mailbox)

    async def set_rights(
        self, account: AccountId, mailbox: MailboxId, entry: RightsEntry, op: RightsOp = "replace"
    ) -> Right:
        """Replace, add or remove rights of an account, a group's account or rights.ANYONE (RFC 4314 3.1).

        Returns what the entry has then; without rights it is gone. The caller knows that the grantee exists. Raises
        MailboxNotFound, NotPermitted (the owner's), TooMany.
        """

        async def work(journal: Journal) -> Right:
            return await rights.change(journal, account, mailbox, entry, op)

        if op != "remove" and entry.rights and not entry.negative:
            await self._shares.offer(entry.grantee, account)
        return await self._change(account, work)

    async def rights_of(
        self, account: AccountId, mailbox: MailboxId, grantee: AccountId, groups: Collection[AccountId] = ()
    ) -> Right:
        """What `grantee`, a member of `groups`, may do with a mailbox; all when it is its own, none when not there."""
        return await rights.of_one(await self._reading(account), account, mailbox, grantee, groups)

    async def rights_in(
        self, account: AccountId, grantee: AccountId, groups: Collection[AccountId] = ()
    ) -> dict[MailboxId, Right]:
        """As `rights_of`, of all mailboxes of an account with which another one may do anything."""
        found = await rights.effective(await self._reading(account), [account], grantee, groups)
        return {shared.mailbox: shared.rights for shared in found}

    async def shared_with(self, grantee: AccountId, groups: Collection[AccountId] = ()) -> list[SharedMailbox]:
        """Mailboxes of other accounts with which `grantee`, a member of `groups`, may do anything."""
        owners = await self._shares.owners(grantee, groups)
        found: list[SharedMailbox] = []
        for shard, those in (await self._shards.group(owners)).items():
            found += await rights.effective(shard.database, those, grantee, groups)
        return found

    async def subscriptions(self, account: AccountId) -> set[tuple[AccountId, MailboxId]]:
        """Mailboxes of others that an account has subscribed to: owner and mailbox, whether or not they are there."""
        return await subscriptions.of(await self._reading(account), account)

    async def subscribe(self, account: AccountId, owner: AccountId, mailbox: MailboxId, *, subscribed: bool) -> None:
        """Subscribe an account to a mailbox of another one, or no more. Raises TooMany."""

        async def work(journal: Journal) -> None:
            await subscriptions.change(journal, account, owner, mailbox, subscribed=subscribed)

        await self._change(account, work)

    # URLs that lend rights

    async def url_key(self, account: AccountId, owner: AccountId, mailbox: MailboxId) -> bytes | None:
        """What proves URLs of a mailbox by which an account lends its rights (RFC 4467); None: there are none."""
        return await url_keys.read(await self._reading(account), account, owner, mailbox)

    async def make_url_key(self, account: AccountId, owner: AccountId, mailbox: MailboxId) -> bytes:
        """As `url_key`, made if there is none yet."""

        async def work(journal: Journal) -> bytes:
            return await url_keys.make(journal, account, owner, mailbox)

        return await self._change(account, work)

    async def reset_url_keys(self, account: AccountId, place: tuple[AccountId, MailboxId] | None = None) -> None:
        """Let the URLs of an account prove nothing any more: those of one mailbox (owner, id), or all."""

        async def work(journal: Journal) -> None:
            await url_keys.reset(journal, account, place)

        await self._change(account, work)

    # Annotations

    async def metadata(
        self, account: AccountId, mailbox: MailboxId, names: Sequence[str], *, holder: AccountId, below: bool = False
    ) -> dict[str, bytes]:
        """Annotations (RFC 5464) of a mailbox, of the account itself with metadata.ACCOUNT: those named, `below` them
        too. `holder` is whose private ones."""
        database = await self._reading(account)
        return await metadata.read(database, account, mailbox, holder, names, below=below)

    async def set_metadata(
        self, account: AccountId, mailbox: MailboxId, values: Mapping[str, bytes | None], *, holder: AccountId
    ) -> None:
        """Set annotations, remove those that are None: all or none. Raises MailboxNotFound, TooLarge, TooMany."""

        async def work(journal: Journal) -> None:
            await metadata.write(journal, account, mailbox, holder, values)

        await self._change(account, work)

    # Reading

    async def entries(self, account: AccountId, mailbox: MailboxId, since: Modseq | Literal[0] = 0) -> list[Entry]:
        """Entries by ascending UID: all, or those changed after `since`."""
        return await self._read(account, lambda database: view.entries(database, account, mailbox, since))

    async def uids(self, account: AccountId, mailbox: MailboxId) -> list[Uid]:
        """Every UID of a mailbox, ascending; none when there is no such mailbox."""
        return await self._read(account, lambda database: view.uids(database, account, mailbox))

    async def expunged(self, account: AccountId, mailbox: MailboxId, since: Modseq) -> list[Uid]:
        """UIDs that vanished after `since`. Raises CannotCalculateChanges, MailboxNotFound."""
        return await self._read(account, lambda database: view.expunged(database, account, mailbox, since))

    async def view(self, account: AccountId, mailbox: MailboxId, since: Modseq | None = None) -> MailboxView:
        """One consistent view of a mailbox: whole, or what changed after `since` (the modseq of an earlier view).

        Raises MailboxNotFound, AccountNotFound, CannotCalculateChanges.
        """
        return await self._read(account, lambda database: view.view(database, account, mailbox, since))

    async def snapshot(self, account: AccountId, mailbox: MailboxId) -> tuple[Mailbox, Modseq]:
        """A mailbox and the account's modseq at the same instant. Raises MailboxNotFound, AccountNotFound."""
        return await self._read(account, lambda database: view.snapshot(database, account, mailbox))

    async def current_state(self, account: AccountId) -> Modseq:
        """The account's modseq, for a decision: from the primary. Raises AccountNotFound."""

        async def read() -> Modseq:
            return await view.state(await self._reading(account), account)

        return await self._shards.follow([account], read)

    async def state(self, account: AccountId) -> Modseq:
        """The account's modseq, at least as new as all this process read of it before. Raises AccountNotFound."""

        async def read() -> Modseq:
            shard = await self._shards.of(account)
            if shard.pools.replicas is not None:
                return await shard.pools.read(account, lambda database: view.state(database, account))
            return view.reached(await self._counters[shard].read(account), account)

        return await self._shards.follow([account], read)

    async def modseqs(self, accounts: Sequence[AccountId]) -> dict[AccountId, Modseq]:
        """Modseqs of many accounts in one query; unknown ones are left out."""
        found: dict[AccountId, Modseq] = {}
        for shard, those in (await self._shards.group(accounts)).items():
            here = await view.modseqs(shard.database, those)
            found.update(here)
            shard.pools.seen(those)
            self._shards.placements.forget(set(those) - set(here))  # gone, or moved away: looked for next time
        return found

    async def mailbox_modseqs(self, account: AccountId) -> dict[MailboxId, Modseq]:
        """The modseq of each mailbox."""
        return await self._read(account, lambda database: view.mailbox_modseqs(database, account))

    async def take_recent(self, account: AccountId, mailbox: MailboxId) -> Uid:
        """The first UID that no session has seen (RFC 3501 \\Recent); this session has seen all from now on.

        Raises MailboxNotFound.
        """
        return await view.take_recent(await self._reading(account), account, mailbox)

    async def messages(
        self, account: AccountId, ids: Sequence[MessageId], fields: MessageFields
    ) -> list[StoredMessage]:
        """Messages in the order of `ids`; those not there are left out."""
        return await self._read(account, lambda database: messages.by_ids(database, account, ids, fields))

    async def messages_by_uid(
        self, account: AccountId, mailbox: MailboxId, uids: Sequence[int], fields: MessageFields
    ) -> list[PlacedMessage]:
        """Messages of one mailbox by ascending UID; those not there are left out."""
        return await self._read(account, lambda database: messages.by_uids(database, account, mailbox, uids, fields))

    async def columns_by_uid(
        self, account: AccountId, mailbox: MailboxId, uids: Sequence[int], wanted: tuple[Column, ...]
    ) -> list[Row]:
        """The UID and some columns of messages of one mailbox, by ascending UID; those not there are left out."""
        return await self._read(account, lambda database: columns_by_uid(database, account, mailbox, uids, wanted))

    async def search(self, account: AccountId, query: SearchQuery) -> SearchResult:
        """Search a mailbox or the account. Raises TooMany (conditions, words), AccountNotFound."""
        known = await resolved((await self._shards.of(account)).index, account, query)
        return await self._read(account, lambda database: search_sql.run(database, account, known))

    async def sort_facts(
        self, account: AccountId, mailbox: MailboxId, uids: Sequence[int], fields: SortFields
    ) -> list[SortFacts]:
        """What messages of one mailbox are sorted by, by ascending UID; those not there are left out."""
        return await self._read(account, lambda database: sorting.sort_facts(database, account, mailbox, uids, fields))

    async def threads(self, account: AccountId, ids: Sequence[ThreadId]) -> Mapping[ThreadId, list[MessageId]]:
        """Message ids of each thread, oldest first; unknown threads are left out."""
        return await self._read(account, lambda database: threads.members(database, account, ids))

    async def thread_counts(self, account: AccountId) -> dict[MailboxId, ThreadCounts]:
        """Threads, unread threads and unread messages of each mailbox that holds anything (RFC 8621 2)."""
        return await self._read(account, lambda database: thread_counts(database, account))

    async def changes(self, account: AccountId, kind: ChangeKind, since: Modseq, limit: int | None = None) -> Changes:
        """Ids created, updated and destroyed after `since`. Raises CannotCalculateChanges, AccountNotFound."""
        return await self._read(account, lambda database: changes.changes(database, account, kind, since, limit))

    async def deleted_size(self, account: AccountId, mailbox: MailboxId) -> int:
        """Octets of the messages in a mailbox that have \\Deleted."""
        return await self._read(account, lambda database: view.deleted_size(database, account, mailbox))

    async def quota(self, account: AccountId) -> tuple[int, int, int | None]:
        """Used bytes, number of messages, and the limit in bytes or None. Raises AccountNotFound."""
        shard = await self._shards.of(account)
        shard.pools.seen([account])
        return view.quota(await self._counters[shard].read(account), account)

    # Changing

    async def set_flags(
        self,
        account: AccountId,
        mailbox: MailboxId,
        uids: Sequence[int],
        *,
        op: FlagsOp,
        system: SystemFlag = SystemFlag.NONE,
        keywords: frozenset[str] = frozenset(),
        unchanged_since: Modseq | None = None,
        within: FlagsScope = EVERY_FLAG,
    ) -> FlagsResult:
        """Add, remove or replace flags of messages in one mailbox, and only those `within` what may be changed.

        Raises MailboxNotFound.
        """

        async def work(journal: Journal) -> FlagsResult:
            return await flags.set_flags(
                journal,
                account,
                mailbox,
                uids,
                op=op,
                flags=Flags(system, keywords),
                unchanged_since=unchanged_since,
                within=within,
            )

        return await self._change(account, work)

    async def expunge(
        self, account: AccountId, mailbox: MailboxId, uids: Sequence[int] | None = None, *, only_deleted: bool
    ) -> list[Uid]:
        """Remove messages from a mailbox (all without `uids`); returns what vanished. Raises MailboxNotFound."""

        async def work(journal: Journal) -> list[Uid]:
            return await expunge.expunge(journal, account, mailbox, uids, only_deleted=only_deleted)

        return await self._change(account, work)

    async def copy(self, account: AccountId, mailbox: MailboxId, uids: Sequence[int], target: MailboxId) -> Copied:
        """Copy messages with their flags, keeping their order. Raises MailboxNotFound, OverQuota."""

        async def work(journal: Journal) -> Copied:
            return await copying.copy(journal, account, mailbox, uids, target)

        return await self._change(account, work)

    async def move(self, account: AccountId, mailbox: MailboxId, uids: Sequence[int], target: MailboxId) -> Copied:
        """Move messages with their flags, keeping their order. Raises MailboxNotFound, OverQuota."""

        async def work(journal: Journal) -> Copied:
            return await copying.move(journal, account, mailbox, uids, target)

        return await self._change(account, work)

    async def replace(self, new: NewMessage, mailbox: MailboxId, uid: Uid) -> Appended:
        """Store a message and remove another one from `mailbox`, at once or not at all.

        Raises MessageNotFound (the old one), MailboxNotFound, OverQuota.
        """

        async def work(journal: Journal) -> Appended:
            return await replacing.replace(journal, new, mailbox, uid, window=self._window)

        return await self._change(new.account, work)

    async def update_messages(
        self, account: AccountId, updates: Sequence[MessageUpdate]
    ) -> dict[MessageId, PosthornError | None]:
        """Change keywords and mailboxes of messages; tells for each what was wrong with it, or None."""

        async def work(journal: Journal) -> dict[MessageId, PosthornError | None]:
            return await update_messages(journal, account, updates)

        return await self._change(account, work)

    async def destroy_messages(
        self, account: AccountId, ids: Sequence[MessageId]
    ) -> tuple[list[MessageId], list[MessageId]]:
        """Remove messages from every mailbox; returns those destroyed and those that were not there."""

        async def work(journal: Journal) -> tuple[list[MessageId], list[MessageId]]:
            return await expunge.destroy(journal, account, ids)

        return await self._change(account, work)
