"""Rights on mailboxes: what adds up and what takes away, who finds what, and that clients hear of changes."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest
import pytest_asyncio
from hypothesis import given
from hypothesis import strategies as st

from posthorn_mail_format import summarize
from posthorn_model.errors import InvalidContent, MailboxNotFound, NotPermitted, TooMany
from posthorn_model.events import Changed, ChangeKind
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId
from posthorn_model.mail import Mailbox, NewMessage
from posthorn_model.rights import ALL, LETTERS, Right, letters, rights
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.mail.flags import FlagsOp, FlagsScope
from posthorn_storage.mail.rights import ANYONE, MAX_ENTRIES, RightsEntry, RightsOp, SharedMailbox
from posthorn_storage.mail_store import MailStore

MakeAccount = Callable[..., Awaitable[AccountRecord]]
READ = rights("lr")


@given(st.sets(st.sampled_from(LETTERS)))
def test_letters_are_rights_and_back(chosen: set[str]) -> None:
    text = "".join(sorted(chosen))
    assert set(letters(rights(text))) == chosen
    assert [letter for letter in LETTERS if letter in chosen] == list(letters(rights(text)))


def test_the_letters_of_the_older_rfc() -> None:
    assert letters(rights("c")) == "kx"
    assert letters(rights("d")) == "te"
    assert letters(ALL) == LETTERS
    for wrong in ("z", "L", "-", " "):
        with pytest.raises(InvalidContent):
            rights(f"lr{wrong}")


pytestmark = pytest.mark.postgres


class People:
    """Ann owns a mailbox; Bob, and a group he is in."""

    def __init__(self, mail: MailStore, box: Mailbox, *ids: AccountId) -> None:
        self.mail, self.box = mail, box.id
        self.ann, self.bob, self.team = ids

    async def give(self, grantee: AccountId, text: str, op: RightsOp = "replace", *, negative: bool = False) -> str:
        entry = RightsEntry(grantee, rights(text), negative)
        return letters(await self.mail.set_rights(self.ann, self.box, entry, op))

    async def bobs(self) -> str:
        return letters(await self.mail.rights_of(self.ann, self.box, self.bob, [self.team]))


@pytest_asyncio.fixture
async def people(mail: MailStore, account: MakeAccount) -> People:
    made = [(await account(f"{name}@example.org")).id for name in ("ann", "bob", "team")]
    return People(mail, await mail.create_mailbox(made[0], "Shared"), *made)


async def test_an_entry_is_set_extended_and_taken_back(people: People) -> None:
    assert await people.give(people.bob, "lr") == "lr"
    assert await people.give(people.bob, "s", "add") == "lrs"
    assert await people.give(people.bob, "r", "remove") == "ls"
    assert await people.give(people.bob, "i") == "i"
    assert await people.mail.rights(people.ann, people.box) == [RightsEntry(people.bob, Right.INSERT)]
    assert await people.give(people.bob, "i", "remove") == ""
    assert await people.mail.rights(people.ann, people.box) == []


async def test_entries_add_up_and_negative_ones_take_away(people: People) -> None:
    assert await people.bobs() == ""
    await people.give(ANYONE, "l")
    await people.give(people.team, "rs")
    await people.give(people.bob, "i")
    assert await people.bobs() == "lrsi"
    await people.give(people.team, "ls", negative=True)
    assert await people.bobs() == "ri"
    assert letters(await people.mail.rights_of(people.ann, people.box, people.bob)) == "li", "without his group"
    await people.give(people.bob, "lrsi", negative=True)
    assert await people.bobs() == ""
    assert await people.mail.shared_with(people.bob, [people.team]) == []
    assert await people.mail.rights_of(people.ann, people.box, people.ann) == ALL


async def test_the_owner_cannot_be_limited(people: People) -> None:
    with pytest.raises(NotPermitted):
        await people.give(people.ann, "l")
    with pytest.raises(NotPermitted):
        await people.give(people.ann, "l", negative=True)


async def test_a_grantee_finds_what_is_shared(people: People, account: MakeAccount) -> None:
    eve = (await account("eve@example.org")).id
    assert await people.mail.shared_with(people.bob) == []
    await people.give(people.bob, "lr")
    found = [SharedMailbox(people.ann, people.box, READ)]
    assert await people.mail.shared_with(people.bob) == found
    assert await people.mail.shared_with(eve) == []
    await people.give(ANYONE, "l")
    assert await people.mail.shared_with(eve) == [SharedMailbox(people.ann, people.box, Right.LOOKUP)]
    assert await people.mail.shared_with(people.ann) == [], "one's own mailboxes are not shared with oneself"
    await people.give(people.bob, "")
    await people.give(ANYONE, "")
    assert await people.mail.shared_with(people.bob) == await people.mail.shared_with(eve) == []


async def test_clients_hear_of_changes_and_only_of_changes(people: People, heard: list[Changed]) -> None:
    before = await people.mail.mailbox(people.ann, people.box)
    await people.give(people.bob, "lr")
    after = await people.mail.mailbox(people.ann, people.box)
    assert after.modseq > before.modseq
    assert heard == [Changed(people.ann, after.modseq, frozenset({ChangeKind.MAILBOX}))]
    changes = await people.mail.changes(people.ann, ChangeKind.MAILBOX, before.modseq)
    assert (changes.updated, changes.counts_only) == ([people.box], False)
    await people.give(people.bob, "lr")
    await people.give(people.bob, "i", "remove")
    await people.give(people.team, "", "add")
    assert (await people.mail.mailbox(people.ann, people.box)).modseq == after.modseq
    assert len(heard) == 1


async def test_rights_follow_their_mailbox(people: People, storage: Storage) -> None:
    count = "SELECT count(*) FROM mailbox_right"
    await people.give(people.bob, "lr")
    await people.mail.update_mailbox(people.ann, people.box, name="Elsewhere")
    assert await people.bobs() == "lr"
    await people.mail.delete_mailbox(people.ann, people.box, remove_messages=True)
    assert await storage._database.fetchval(count) == 0
    with pytest.raises(MailboxNotFound):
        await people.give(people.bob, "lr")
    with pytest.raises(MailboxNotFound):
        await people.mail.rights(people.ann, MailboxId(people.box))
    inbox = (await people.mail.mailboxes(people.ann))[0].id
    for end in (storage.directory.reset_account, storage.directory.delete_account):
        people.box = next(box.id for box in await people.mail.mailboxes(people.ann) if box.role == "inbox")
        await people.give(people.bob, "lr")
        assert await storage._database.fetchval(count) == 1
        await end("ann@example.org")
        assert await storage._database.fetchval(count) == 0
    assert inbox


async def test_entries_are_bounded(people: People) -> None:
    for number in range(MAX_ENTRIES):
        await people.give(AccountId(10_000 + number), "l")
    with pytest.raises(TooMany):
        await people.give(people.bob, "l")
    assert await people.give(AccountId(10_000), "lr") == "lr", "an entry that is there may change"
    await people.give(AccountId(10_001), "")
    assert await people.give(people.bob, "l") == "l"


async def test_concurrent_changes_all_count(people: People) -> None:
    await asyncio.gather(*(people.give(people.bob, letter, "add") for letter in LETTERS))
    assert await people.bobs() == LETTERS


async def test_the_way_to_rights_is_kept_while_they_are_and_goes_long_after(people: People, storage: Storage) -> None:
    long_ago = "UPDATE share SET at = now() - interval '2 days'"
    await people.give(people.bob, "lr")
    await people.give(people.team, "lr")
    await people.give(people.team, "")
    assert await storage.purge.purge_shares(10) == 0, "it may have been offered just now"
    await storage._database.execute(long_ago)
    assert await storage.purge.purge_shares(10) == 1
    assert await storage.purge.purge_shares(10) == 0, "what was looked at is left alone for a while"
    assert await people.mail.shared_with(people.bob)
    # Whoever gives rights makes the way young again.
    await storage._database.execute(long_ago)
    await people.give(people.bob, "")
    await people.give(people.bob, "l")
    assert await storage.purge.purge_shares(10) == 0
    await storage._database.execute("UPDATE account SET shard = 3 WHERE id = $1", people.ann)
    await storage._database.execute("DELETE FROM mailbox_right")
    await storage._database.execute(long_ago)
    assert await storage.purge.purge_shares(10) == 0, "what an account has elsewhere cannot be seen from here"
    await storage._database.execute("UPDATE account SET shard = 0")
    await storage._database.execute(long_ago)
    assert await storage.purge.purge_shares(10, keep=timedelta(days=3)) == 0
    assert await storage.purge.purge_shares(10) == 1


async def test_a_new_mailbox_is_shared_as_its_parent_is(people: People) -> None:
    await people.give(people.bob, "lrk")
    await people.give(people.team, "r", negative=True)
    below = await people.mail.create_mailbox(people.ann, "Below", people.box)
    assert await people.mail.rights(people.ann, below.id) == await people.mail.rights(people.ann, people.box)
    beside = await people.mail.create_mailbox(people.ann, "Beside")
    assert await people.mail.rights(people.ann, beside.id) == []


async def test_subscriptions_to_mailboxes_of_others(people: People, storage: Storage) -> None:
    mail = people.mail
    for _ in range(2):
        await mail.subscribe(people.bob, people.ann, people.box, subscribed=True)
    await mail.subscribe(people.bob, people.ann, MailboxId(4711), subscribed=True)
    assert await mail.subscriptions(people.bob) == {(people.ann, people.box), (people.ann, MailboxId(4711))}
    assert await mail.subscriptions(people.ann) == set()
    await mail.subscribe(people.bob, people.ann, people.box, subscribed=False)
    assert await mail.subscriptions(people.bob) == {(people.ann, MailboxId(4711))}
    await storage.directory.reset_account("bob@example.org")
    assert await mail.subscriptions(people.bob) == set()


async def test_only_flags_within_the_rights_change(people: People, storage: Storage) -> None:
    blob = await storage.blobs.prepare(b"Subject: x\r\n\r\n")
    flags = Flags(SystemFlag.SEEN | SystemFlag.FLAGGED, frozenset({"kept"}))
    await people.mail.append([NewMessage(people.ann, [people.box], summarize(b"Subject: x\r\n\r\n"), blob, flags)])

    async def change(op: FlagsOp, system: SystemFlag, words: set[str], may: SystemFlag, *, keywords: bool) -> Flags:
        await people.mail.set_flags(
            people.ann,
            people.box,
            [1],
            op=op,
            system=system,
            keywords=frozenset(words),
            within=FlagsScope(may, keywords=keywords),
        )
        return (await people.mail.entries(people.ann, people.box))[0].flags

    only_seen = SystemFlag.SEEN
    both = SystemFlag.DELETED | SystemFlag.ANSWERED
    assert await change("add", both, {"new"}, SystemFlag.ANSWERED, keywords=False) == Flags(
        flags.system | SystemFlag.ANSWERED, flags.keywords
    )
    assert await change("remove", flags.system, {"kept"}, only_seen, keywords=False) == Flags(
        SystemFlag.FLAGGED | SystemFlag.ANSWERED, flags.keywords
    )
    assert await change("replace", both | only_seen, {"new"}, only_seen, keywords=False) == Flags(
        flags.system | SystemFlag.ANSWERED, flags.keywords
    )
    assert await change("replace", both, {"new"}, both, keywords=True) == Flags(
        flags.system | both, frozenset({"new"})
    ), "what may not change stays"
