"""Searching by words on the real PostgreSQL: the same answers before and after a message is indexed."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from posthorn_model.errors import TooMany
from posthorn_model.ids import AccountId, Epoch, MailboxId
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.index import Lag
from posthorn_storage.mail.search import And, Condition, Contains, Matches, Not, Or, SearchQuery, TextField
from posthorn_storage.search_store import AccountIndex

pytestmark = pytest.mark.postgres
MakeAccount = Callable[..., Awaitable[AccountRecord]]
MakeMessage = Callable[..., NewMessage]
EPOCH = Epoch(1)

TEXTS = [
    {"subject": "Invoice 42", "text": "The buses were running late, and the driver was tired of it."},
    {"subject": "Rechnung", "text": "Die Häuser der Familie Müller sind nicht mehr für uns und auch nicht schön."},
    {"subject": "Письмо", "text": "Большие дома стоят на берегу реки, и мы были там вместе с друзьями."},
    {"subject": "東京都の天気", "text": "明日は晴れるでしょう。北京大学で会いましょう"},
    {
        "subject": "Quick notes",
        "text": "a quick brown fox. Notes on café culture",
        "from_": "Zoë Brown <zoe@bus.example>",
    },
    {"subject": "Business plan", "text": "nothing of the kind 🎉", "to": "Dora Dee <dora@example.org>"},
]


async def index_all(storage: Storage) -> None:
    for indexer in storage.search.indexers().values():
        while (await indexer.step(EPOCH, 50)).claimed:
            pass


class Corpus:
    """The messages of TEXTS, numbered from 1."""

    def __init__(self, storage: Storage, account: AccountId, ids: list[int]) -> None:
        self.storage, self.account, self.ids = storage, account, ids

    async def places(self, where: Condition) -> list[int]:
        found = await self.storage.mail.search(self.account, SearchQuery(where))
        return [self.ids.index(one) + 1 for one in found.ids]


async def filled(storage: Storage, account: AccountId, make: MakeMessage) -> Corpus:
    boxes = {mailbox.role: mailbox.id for mailbox in await storage.mail.mailboxes(account)}
    made = await storage.mail.append([make(account, boxes[Role.INBOX], **text) for text in TEXTS])
    return Corpus(storage, account, [appended.message for appended in made])


@pytest.fixture
async def corpus(storage: Storage, account: MakeAccount, new_message: MakeMessage) -> Corpus:
    """Beside it another account with the same messages, which must never be found."""
    other = await filled(storage, (await account("bob@example.org")).id, new_message)
    made = await filled(storage, (await account()).id, new_message)
    assert other.ids != made.ids
    return made


def text(words: str) -> Matches:
    return Matches(TextField.TEXT, words)


def body(words: str) -> Matches:
    return Matches(TextField.BODY, words)


CASES: list[tuple[Condition, list[int]]] = [
    (text("drivers late"), [1]),
    (text("haus"), [2]),
    (text("muller"), [2]),
    (text("домами друзья"), [3]),
    (text("京"), [4]),
    (text("北京大学"), [4]),
    (text("cafe"), [5]),
    (text('"quick brown fox"'), [5]),
    (text('"brown quick"'), []),
    (text("busi*"), [6]),
    (text("🎉"), [6]),  # no word: looked for as it stands
    (text("  "), [1, 2, 3, 4, 5, 6]),
    (text(""), [1, 2, 3, 4, 5, 6]),
    (Matches(TextField.SUBJECT, "fox"), []),
    (Matches(TextField.FROM, "zoe"), [5]),
    (Matches(TextField.TO, "example.org"), [1, 2, 3, 4, 5, 6]),
    (body("invoice"), []),
    (body('"brown fox"'), [5]),
    (Not(text("bus")), [1, 2, 3, 4, 6]),
    (Or((text("haus"), text("дом"))), [2, 3]),
    (And((text("quick"), Not(body("slow")), Contains(TextField.BODY, "rown f"))), [5]),
]


@pytest.mark.parametrize("indexed", [False, True], ids=["waiting", "indexed"])
async def test_words_are_found(corpus: Corpus, indexed: bool) -> None:
    if indexed:
        await index_all(corpus.storage)
        assert await corpus.storage.search.status(corpus.account) == AccountIndex(6, 6, Lag(0, 0, 0.0))
    wrong = {}
    for where, found in CASES:
        places = await corpus.places(where)
        if places != found:
            wrong[str(where)] = (places, found)
    assert wrong == {}


async def test_the_language_is_told_by_the_words(corpus: Corpus, postgres_dsn: str) -> None:
    await index_all(corpus.storage)
    rows = await corpus.storage._database.fetch(
        "SELECT language FROM message_index WHERE account_id = $1 ORDER BY message_id", corpus.account
    )
    assert [row["language"] for row in rows][:3] == ["english", "german", "russian"]


async def test_what_is_asked_for_is_bounded(corpus: Corpus) -> None:
    for where in (text("x" * 3000), text(" ".join(map(str, range(300)))), Or((text("a"),) * 1001)):
        with pytest.raises(TooMany):
            await corpus.places(where)
    many = Or(tuple(text(f"w{n}") for n in range(33)))
    with pytest.raises(TooMany):
        await corpus.places(many)


async def test_a_long_backlog_is_searched_to_its_end(
    storage: Storage, account: MakeAccount, new_message: MakeMessage
) -> None:
    ann = (await account()).id
    inbox = (await storage.mail.mailboxes(ann))[0].id
    new = [new_message(ann, MailboxId(inbox), subject=f"s{n}", text=f"needle{n} hay") for n in range(150)]
    ids = [appended.message for appended in await storage.mail.append(new)]
    found = await storage.mail.search(ann, SearchQuery(text("needle3 hay")))
    assert ids[3] in found.ids
    assert (await storage.mail.search(ann, SearchQuery(text("needle149")))).ids == [ids[149]]
    await index_all(storage)
    assert (await storage.mail.search(ann, SearchQuery(text("needle3 hay")))).ids == [ids[3]]


async def test_any_text_is_indexed_and_looked_for(
    storage: Storage, account: MakeAccount, new_message: MakeMessage, tmp_path: Path
) -> None:
    """Signs of every kind, letters of every script and endless words: nothing of them fails, everything is found."""
    ann = (await account()).id
    inbox = (await storage.mail.mailboxes(ann))[0].id
    odd = "".join(chr(n) for n in range(1, 0x3000) if not 0xD800 <= n < 0xE000) + " 'q' \\'x\\' " + "y" * 100_000
    await storage.mail.append([new_message(ann, inbox, subject="odd'\\", text=odd + " last")])
    await index_all(storage)
    assert (await storage.search.lag()).waiting == 0
    for start in range(0, 0x3000, 200):
        await storage.mail.search(ann, SearchQuery(text(odd[start : start + 200].replace(" ", ""))))
    for words in ("q", "odd", "last", "y" * 90):
        assert len((await storage.mail.search(ann, SearchQuery(text(words)))).ids) == 1, words
