"""What every search index must do (posthorn_storage.index.port): the same words in, the same messages out.

A module of tests makes a class of it that gives the fixture `index`; messages and tasks are real rows of `storage`.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import pytest

from posthorn_mail_format.summary import summarize
from posthorn_model.ids import AccountId, Epoch, MessageId
from posthorn_model.mail import NewMessage
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.index import Claim, Document, IndexTasks, SearchIndex, Wanted
from posthorn_storage.index.port import Texts
from posthorn_storage.index.terms import terms
from posthorn_storage.mail.search import TextField

TEXT, BODY, SUBJECT, FROM, TO = TextField.TEXT, TextField.BODY, TextField.SUBJECT, TextField.FROM, TextField.TO
EPOCH = Epoch(1)
NOBODY = Texts("", "", "", "", "", "")

MESSAGES = (
    replace(NOBODY, subject="Invoice 42", body="The drivers were running late, and one was tired of it all."),
    replace(
        NOBODY, subject="Rechnung", body="Die Häuser der Familie Müller sind nicht mehr für uns und auch nicht alt."
    ),
    replace(NOBODY, subject="Письмо", body="Большие дома стоят на берегу реки, и мы были там вместе с друзьями."),
    replace(NOBODY, subject="東京都の天気", body="明日は晴れるでしょう。北京大学で会いましょう"),
    replace(
        NOBODY,
        subject="Quick notes",
        body="a quick brown fox. Notes on café culture",
        from_="Zoë Brown <zoe@bus.example>",
    ),
    replace(NOBODY, subject="Business plan", body="nothing of the kind", to="Dora Dee <dora@example.org>", cc="ann@x"),
    replace(NOBODY, subject="Attached", body="see below", attachments="budget-2026.xlsx\nquarterly giraffe figures"),
)

FOUND: Sequence[tuple[TextField, str, Sequence[int]]] = (
    # Every word, in any of its forms.
    (TEXT, "driver", [1]),
    (TEXT, "RUNS late", [1]),
    (TEXT, "run sleepy", []),
    (TEXT, "haus", [2]),
    (TEXT, "дом", [3]),
    (TEXT, "домами друзья", [3]),
    (TEXT, "bus", [5]),
    (TEXT, "42", [1]),
    # With accents and without.
    (TEXT, "müller", [2]),
    (TEXT, "muller", [2]),
    (TEXT, "cafe", [5]),
    (TEXT, "ZOE", [5]),
    # Scripts without spaces: what stands there, wherever it stands.
    (TEXT, "東京", [4]),
    (TEXT, "京", [4]),
    (TEXT, "北京大学", [4]),
    (TEXT, "北大", []),
    (TEXT, "天気", [4]),
    # Phrases: these words in this order, within one field.
    (TEXT, '"quick brown fox"', [5]),
    (TEXT, "'brown fox'", [5]),
    (TEXT, '"brown quick"', []),
    (TEXT, '"runs late"', []),
    (TEXT, '"notes a quick"', []),
    (TEXT, "zoe@bus.example", [5]),
    # Beginnings.
    (TEXT, "dri* run*", [1]),
    (TEXT, "busi*", [6]),
    (TEXT, "mull*", [2]),
    (TEXT, "quick bro*", [5]),
    # Field by field.
    (SUBJECT, "note", [5]),
    (SUBJECT, "fox", []),
    (SUBJECT, '"business plan"', [6]),
    (SUBJECT, "bus*", [6]),
    (FROM, "brown", [5]),
    (FROM, "zoe", [5]),
    (FROM, "dora", []),
    (TO, '"Dora Dee"', [6]),
    (TO, "example.org", [6]),
    (TextField.CC, "ann@x", [6]),
    (TextField.CC, "dora", []),
    (TextField.BCC, "dora", []),
    (BODY, "brown", [5]),
    (BODY, "invoice", []),
    (BODY, "zoe", []),
    (BODY, "bro*", [5]),
    # Attachments belong to the body.
    (BODY, "giraffes", [7]),
    (BODY, '"quarterly giraffe"', [7]),
    (TEXT, "budget-2026.xlsx", [7]),
    (SUBJECT, "giraffe", []),
    # What could be a query of somebody's is words.
    (TEXT, "the & ! of | late <-> (') \\", [1]),
    (TEXT, "'; DROP TABLE message; --", []),
    (TEXT, "quick:* 'unclosed", []),
)


class SearchIndexContract:
    """Give a fixture `index`."""

    @pytest.fixture
    def tasks(self, storage: Storage) -> IndexTasks:
        return IndexTasks(storage.shards.home.database)

    @pytest.fixture
    def claimed(
        self, storage: Storage, account: Callable[..., Awaitable[AccountRecord]], tasks: IndexTasks
    ) -> Callable[..., Awaitable[list[Claim]]]:
        """`await claimed(address, count)`: claims of that many new messages without any words of their own."""

        async def claim(address: str, count: int) -> list[Claim]:
            owner = (await account(address)).id
            raw = b"\r\n"
            blob = await storage.blobs.prepare(raw, accounts=[owner])
            await storage.mail.append([NewMessage(owner, [], summarize(raw), blob)] * count)
            return await tasks.claim(EPOCH, count)

        return claim

    async def test_words_are_found(self, index: SearchIndex, claimed: Callable[..., Awaitable[list[Claim]]]) -> None:
        """In one account; another one with the same messages is never found."""
        claims = await claimed("ann@example.org", len(MESSAGES))
        others = await claimed("bob@example.org", len(MESSAGES))
        for some in (claims, others):
            documents = [Document(claim, texts) for claim, texts in zip(some, MESSAGES, strict=True)]
            assert await index.write(documents) == len(MESSAGES)
        wanted = [Wanted(field, terms(text)) for field, text, _ in FOUND]
        places = {claim.message: number for number, claim in enumerate(claims, 1)}
        answers = await index.matching(claims[0].account, wanted)
        got = {
            (field, text): sorted(places[message] for message in found)
            for (field, text, _), found in zip(FOUND, answers, strict=True)
        }
        assert got == {(field, text): list(numbers) for field, text, numbers in FOUND}

    async def test_the_language_of_the_header_counts(
        self, index: SearchIndex, claimed: Callable[..., Awaitable[list[Claim]]]
    ) -> None:
        """Too few words to tell: the header says it."""
        one, other = await claimed("ann@example.org", 2)
        texts = replace(NOBODY, body="Häuser")
        await index.write([Document(one, replace(texts, languages=("de-CH", "en"))), Document(other, texts)])
        assert await found(index, one.account, "haus") == {one.message}

    async def test_a_document_replaces_the_one_before(
        self, index: SearchIndex, storage: Storage, tasks: IndexTasks, claimed: Callable[..., Awaitable[list[Claim]]]
    ) -> None:
        (claim,) = await claimed("ann@example.org", 1)
        assert await index.write([Document(claim, replace(NOBODY, body="former"))]) == 1
        await storage.search.rebuild(claim.account)
        (again,) = await tasks.claim(EPOCH, 1)
        assert await index.write([Document(again, replace(NOBODY, body="latter"))]) == 1
        assert await found(index, claim.account, "former") == set()
        assert await found(index, claim.account, "latter") == {claim.message}
        assert (await tasks.lag()).waiting == 0

    async def test_a_void_claim_changes_nothing(
        self, index: SearchIndex, tasks: IndexTasks, claimed: Callable[..., Awaitable[list[Claim]]]
    ) -> None:
        """Of another epoch or attempt, or finished already: neither words nor tasks change, those beside it do."""
        one, other = await claimed("ann@example.org", 2)
        old = replace(one, epoch=Epoch(99))
        earlier = replace(one, attempt=7)
        document = Document(one, replace(NOBODY, body="first"))
        assert await index.write([Document(old, replace(NOBODY, body="late")), Document(other, NOBODY)]) == 1
        await index.remove([old, earlier])
        assert await index.write([Document(earlier, replace(NOBODY, body="late"))]) == 0
        assert (await tasks.lag()).waiting == 1
        assert await index.write([document]) == 1
        assert await index.write([Document(one, replace(NOBODY, body="late"))]) == 0
        await index.remove([one])
        assert await found(index, one.account, "first") == {one.message}
        assert await found(index, one.account, "late") == set()
        assert await index.write([]) == 0

    async def test_a_message_that_is_gone_is_taken_out(
        self, index: SearchIndex, storage: Storage, tasks: IndexTasks, claimed: Callable[..., Awaitable[list[Claim]]]
    ) -> None:
        one, other = await claimed("ann@example.org", 2)
        await index.write([Document(claim, replace(NOBODY, body="here")) for claim in (one, other)])
        await storage.search.rebuild(one.account)
        await tasks.claim(EPOCH, 2)
        await storage.mail.destroy_messages(one.account, [one.message])
        await index.remove([one])
        assert await found(index, one.account, "here") == {other.message}

    async def test_long_and_odd_texts_are_taken(
        self, index: SearchIndex, claimed: Callable[..., Awaitable[list[Claim]]]
    ) -> None:
        """More words than the index keeps, longer words than it keeps, every sign: the first words are found."""
        many, long, odd = await claimed("ann@example.org", 3)
        signs = "".join(map(chr, range(1, 0x3000)))
        documents = [
            Document(many, replace(NOBODY, subject="needle", body=" ".join(f"w{n} common" for n in range(150_000)))),
            Document(long, replace(NOBODY, subject="needle", body="y" * 500_000 + " " + "z" * 5_000)),
            Document(odd, replace(NOBODY, subject="needle", body=signs, attachments="'x\\':9A & " + signs)),
        ]
        assert await index.write(documents) == 3
        assert await found(index, many.account, "needle") == {many.message, long.message, odd.message}
        assert await found(index, many.account, "common w7") == {many.message}
        assert await found(index, many.account, "z" * 80) == {long.message}


async def found(index: SearchIndex, account: AccountId, text: str) -> set[MessageId]:
    (answer,) = await index.matching(account, [Wanted(TextField.TEXT, terms(text))])
    return set(answer)
