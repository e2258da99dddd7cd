"""Searching on the real PostgreSQL: every condition and sort key, alone and combined, against a plain reading."""

from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from posthorn_model.errors import AccountNotFound, TooMany
from posthorn_model.flags import Flags, SystemFlag
from posthorn_model.ids import AccountId, MailboxId, MessageId, Modseq
from posthorn_model.mail import Mailbox, NewMessage, Role
from posthorn_storage import AccountRecord
from posthorn_storage.mail.search import (
    And,
    Condition,
    Contains,
    Everything,
    HasAttachment,
    HasFlags,
    Header,
    InMailbox,
    InOtherThan,
    InThread,
    MessageIds,
    ModseqFrom,
    Not,
    Or,
    Received,
    SearchQuery,
    Sent,
    SentOn,
    Size,
    Sort,
    SortKey,
    TextField,
    ThreadHasFlags,
    Uids,
)
from posthorn_storage.mail_store import MailStore

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
START = datetime(2026, 3, 1, tzinfo=UTC)
SEEN, FLAGGED, DELETED = SystemFlag.SEEN, SystemFlag.FLAGGED, SystemFlag.DELETED


class Corpus:
    """Five messages in the inbox (UIDs 1 to 5), the second also in the archive, the fifth answering the first."""

    def __init__(self, mail: MailStore, account: AccountId, inbox: Mailbox, archive: Mailbox) -> None:
        self.mail, self.account, self.inbox, self.archive = mail, account, inbox, archive
        self.ids: list[MessageId] = []
        self.modseqs: list[Modseq] = []
        self.threads: list[int] = []

    async def fill(self, make: MakeMessage) -> None:
        inbox = self.inbox.id
        new = [
            make(self.account, inbox, subject="Zebra", message_id="1@x", text="The quick brown Fox", size=10,
                 received_at=START, from_="Ann Ax <zoe@example.net>", flags=SEEN),
            make(self.account, inbox, self.archive.id, subject="apple", text="STRASSE Äpfel", size=20,
                 received_at=START + timedelta(days=2), from_="bob@example.net", keywords=frozenset({"$junk", "x"})),
            make(self.account, inbox, subject="Mango 100%", text="under_score", size=30, has_attachment=True,
                 received_at=START + timedelta(days=1), sent_at=START + timedelta(days=9), flags=FLAGGED | SEEN,
                 from_="Carl <adam@example.com>", to="Dora <d@example.org>"),
            make(self.account, inbox, subject="Kiwi", text="nothing", size=40,
                 received_at=START + timedelta(days=3), flags=DELETED, keywords=frozenset({"x"})),
            make(self.account, inbox, subject="Re: Zebra", message_id="5@x", references=("1@x",), text="", size=50,
                 received_at=START + timedelta(days=4), flags=FLAGGED),
        ]  # fmt: skip
        for appended in await self.mail.append(new):
            self.ids.append(appended.message)
            self.modseqs.append(appended.modseq)
            self.threads.append(appended.thread)

    async def uids(self, where: Condition) -> list[int]:
        return list((await self.mail.search(self.account, SearchQuery(where, self.inbox.id))).uids)

    async def places(self, where: Condition) -> list[int]:
        """Numbers (from 1) of the messages found in the whole account."""
        found = await self.mail.search(self.account, SearchQuery(where))
        assert found.uids == []
        return [self.ids.index(one) + 1 for one in found.ids]

    async def sorted(self, *sort: Sort) -> list[int]:
        everywhere = await self.mail.search(self.account, SearchQuery(Everything(), sort=sort))
        inside = await self.mail.search(self.account, SearchQuery(Everything(), self.inbox.id, sort=sort))
        assert everywhere.ids == inside.ids
        return list(inside.uids)


@pytest.fixture
async def corpus(mail: MailStore, account: MakeAccount, new_message: MakeMessage) -> Corpus:
    ann = (await account()).id
    boxes = {mailbox.role: mailbox for mailbox in await mail.mailboxes(ann)}
    made = Corpus(mail, ann, boxes[Role.INBOX], boxes[Role.ARCHIVE])
    await made.fill(new_message)
    return made


def day(number: int) -> datetime:
    return START + timedelta(days=number)


@pytest.mark.parametrize(
    ("where", "found"),
    [
        (Everything(), [1, 2, 3, 4, 5]),
        (And(()), [1, 2, 3, 4, 5]),
        (Or(()), []),
        (Not(Everything()), []),
        (HasFlags(Flags(SEEN)), [1, 3]),
        (Not(HasFlags(Flags(SEEN))), [2, 4, 5]),
        (HasFlags(Flags(SEEN | FLAGGED)), [3]),
        (HasFlags(Flags(keywords=frozenset({"x"}))), [2, 4]),
        (HasFlags(Flags(keywords=frozenset({"x", "$junk"}))), [2]),
        (HasFlags(Flags(DELETED)), [4]),
        (HasFlags(Flags()), [1, 2, 3, 4, 5]),
        (Contains(TextField.BODY, "QUICK BROWN"), [1]),
        (Contains(TextField.BODY, "äpfel"), [2]),
        (Contains(TextField.BODY, "%"), []),
        (Contains(TextField.BODY, "r_s"), [3]),
        (Contains(TextField.BODY, "nul\0l"), []),
        (Contains(TextField.SUBJECT, "100%"), [3]),
        (Contains(TextField.FROM, "EXAMPLE.NET"), [1, 2, 4, 5]),
        (Contains(TextField.FROM, "ann ax"), [1]),
        (Contains(TextField.TO, "dora"), [3]),
        (Contains(TextField.CC, "dora"), []),
        (Contains(TextField.BCC, ""), [1, 2, 3, 4, 5]),
        (Contains(TextField.TEXT, "zebra"), [1, 5]),
        (Contains(TextField.EVERYWHERE, "subject:"), [1, 2, 3, 4, 5]),
        (Header("Subject", "zebra"), [1, 5]),
        (Header("To", "ann <ann@"), [1, 2, 4, 5]),
        (Header("Subject", ""), [1, 2, 3, 4, 5]),
        (Header("Bcc", ""), []),
        (Header("From", "zebra"), []),
        (Received(since=day(2)), [2, 4, 5]),
        (Received(before=day(2)), [1, 3]),
        (Received(day(1), day(3)), [2, 3]),
        (Received(), [1, 2, 3, 4, 5]),
        (Sent(since=day(9)), [3]),
        (Sent(before=day(1)), [1]),
        (SentOn(since=day(9).date()), [3]),
        (SentOn(before=day(1).date()), [1]),
        (Size(larger=20), [3, 4, 5]),
        (Size(smaller=20), [1]),
        (Not(Size(larger=10, smaller=40)), [1, 4, 5]),
        (HasAttachment(), [3]),
        (ThreadHasFlags(Flags(FLAGGED), every=False), [1, 3, 5]),
        (ThreadHasFlags(Flags(FLAGGED), every=True), [3]),
        (ThreadHasFlags(Flags(SEEN), every=False), [1, 3, 5]),
        (Not(ThreadHasFlags(Flags(keywords=frozenset({"x"})), every=False)), [1, 3, 5]),
        (And((HasFlags(Flags(SEEN)), Not(Contains(TextField.BODY, "fox")))), [3]),
        (Or((Contains(TextField.BODY, "fox"), Size(larger=40))), [1, 5]),
        (And((Not(Or((HasAttachment(), Size(smaller=11)))), Received(before=day(4)))), [2, 4]),
    ],
)  # fmt: skip
async def test_conditions(corpus: Corpus, where: Condition, found: list[int]) -> None:
    assert await corpus.uids(where) == found
    assert await corpus.places(where) == found
    assert await corpus.uids(Not(Not(where))) == found
    assert await corpus.uids(Not(where)) == [uid for uid in range(1, 6) if uid not in found]


async def test_conditions_on_ids(corpus: Corpus) -> None:
    assert await corpus.uids(Uids(((1, 2), (4, 2**32)))) == [1, 2, 4, 5]
    assert await corpus.uids(Uids(())) == []
    assert await corpus.places(MessageIds((corpus.ids[3], corpus.ids[1], MessageId(10**15)))) == [2, 4]
    assert await corpus.places(InMailbox(corpus.archive.id)) == [2]
    assert await corpus.uids(InMailbox(corpus.archive.id)) == [2]
    assert await corpus.places(InOtherThan((corpus.inbox.id,))) == [2]
    assert await corpus.places(InOtherThan(())) == [1, 2, 3, 4, 5]
    assert await corpus.places(InThread(corpus.threads[0])) == [1, 5]
    assert await corpus.uids(ModseqFrom(corpus.modseqs[3])) == [4, 5]
    assert await corpus.places(ModseqFrom(corpus.modseqs[4])) == [5]


@pytest.mark.parametrize(
    ("sort", "uids"),
    [
        ((), [1, 2, 3, 4, 5]),
        ((Sort(SortKey.RECEIVED),), [1, 3, 2, 4, 5]),
        ((Sort(SortKey.RECEIVED, descending=True),), [5, 4, 2, 3, 1]),
        ((Sort(SortKey.SENT),), [1, 2, 4, 5, 3]),
        ((Sort(SortKey.SIZE, descending=True),), [5, 4, 3, 2, 1]),
        ((Sort(SortKey.SUBJECT),), [2, 4, 3, 1, 5]),
        ((Sort(SortKey.SUBJECT, descending=True), Sort(SortKey.SIZE, descending=True)), [5, 1, 3, 4, 2]),
        ((Sort(SortKey.FROM), Sort(SortKey.SIZE)), [3, 2, 4, 5, 1]),
        ((Sort(SortKey.DISPLAY_FROM), Sort(SortKey.SIZE)), [1, 4, 5, 2, 3]),
        ((Sort(SortKey.TO), Sort(SortKey.SIZE, descending=True)), [5, 4, 2, 1, 3]),
        ((Sort(SortKey.DISPLAY_TO), Sort(SortKey.CC)), [1, 2, 4, 5, 3]),
        ((Sort(SortKey.FLAGS, flags=Flags(FLAGGED)),), [1, 2, 4, 3, 5]),
        ((Sort(SortKey.THREAD_SOME, descending=True, flags=Flags(FLAGGED)),), [1, 3, 5, 2, 4]),
        ((Sort(SortKey.THREAD_EVERY, descending=True, flags=Flags(FLAGGED)),), [3, 1, 2, 4, 5]),
    ],
)
async def test_sorting(corpus: Corpus, sort: tuple[Sort, ...], uids: list[int]) -> None:
    assert await corpus.sorted(*sort) == uids


async def test_pages_and_totals(corpus: Corpus) -> None:
    mail, ann = corpus.mail, corpus.account
    for mailbox in (None, corpus.inbox.id):
        page = await mail.search(
            ann, SearchQuery(Not(HasFlags(Flags(SEEN))), mailbox, (Sort(SortKey.SIZE),), offset=1, limit=1)
        )
        assert (page.ids, page.total, page.state) == ([corpus.ids[3]], 3, await mail.state(ann))
    assert page.uids == [4]
    assert page.highest == corpus.modseqs[4]
    beyond = await mail.search(ann, SearchQuery(Everything(), offset=10, limit=5))
    assert (beyond.ids, beyond.total) == ([], 5)
    nothing = await mail.search(ann, SearchQuery(Not(Everything()), corpus.inbox.id))
    assert (nothing.ids, nothing.uids, nothing.total, nothing.highest) == ([], [], 0, 0)


async def test_collapsed_threads_show_their_first_message(corpus: Corpus) -> None:
    newest = (Sort(SortKey.RECEIVED, descending=True),)
    for mailbox in (None, corpus.inbox.id):
        query = SearchQuery(Everything(), mailbox, newest, collapse_threads=True)
        found = await corpus.mail.search(corpus.account, query)
        assert ([corpus.ids.index(one) + 1 for one in found.ids], found.total) == ([5, 4, 2, 3], 4)


async def test_fields_that_are_not_kept_give_candidates(corpus: Corpus) -> None:
    async def found(where: Condition) -> tuple[list[int], bool]:
        result = await corpus.mail.search(corpus.account, SearchQuery(where, corpus.inbox.id, limit=1))
        return list(result.uids), result.inexact

    odd = Header("X-Odd", "value")
    assert await found(odd) == ([1, 2, 3, 4, 5], True)
    assert await found(Not(odd)) == ([1, 2, 3, 4, 5], True)
    assert await found(And((odd, HasFlags(Flags(SEEN))))) == ([1, 3], True)
    assert await found(Not(Or((odd, HasFlags(Flags(SEEN)))))) == ([2, 4, 5], True)
    assert await found(Not(Not(odd))) == ([1, 2, 3, 4, 5], True)
    assert await found(HasFlags(Flags(SEEN))) == ([1], False)


async def test_searches_are_bounded(corpus: Corpus) -> None:
    deep: Condition = Everything()
    for _ in range(100):
        deep = Not(deep)
    for where in (deep, Or((Everything(),) * 2000)):
        with pytest.raises(TooMany):
            await corpus.mail.search(corpus.account, SearchQuery(where))


async def test_unknown_places_find_nothing(corpus: Corpus) -> None:
    assert (await corpus.mail.search(corpus.account, SearchQuery(Everything(), MailboxId(10**15)))).ids == []
    with pytest.raises(AccountNotFound):
        await corpus.mail.search(AccountId(10**15), SearchQuery(Everything()))
