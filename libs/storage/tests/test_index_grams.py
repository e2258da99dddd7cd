"""Signatures of texts: what they may rule out, and that a search by substrings finds the same with and without them."""

import zlib
from collections.abc import Awaitable, Callable

import asyncpg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.ids import Epoch, MessageId
from posthorn_model.mail import NewMessage, Role
from posthorn_storage import AccountRecord, Storage
from posthorn_storage.index.grams import MAX_BITS, MIN_BITS, signature, sought
from posthorn_storage.mail.search import Contains, Header, Not, SearchQuery, TextField


def holds(signature: bytes, needle: str) -> bool:
    """As PostgreSQL tests it."""
    bits = 8 * len(signature)
    return all(signature[place % bits >> 3] >> (place % bits & 7) & 1 for place in sought(needle))


@given(st.lists(st.text(max_size=200), min_size=1, max_size=3), st.data())
def test_no_substring_is_ruled_out(texts: list[str], data: st.DataObject) -> None:
    made = signature(texts)
    assert made is not None
    text = data.draw(st.sampled_from(texts))
    start = data.draw(st.integers(0, len(text)))
    end = data.draw(st.integers(start, len(text)))
    assert holds(made, text[start:end])


@pytest.mark.parametrize("texts", [["abcd"], ["xabcd", "é"], ["ab\ud800cd", "日本語"], ["", "ab"]])
def test_a_signature_is_a_bit_for_each_sequence(texts: list[str]) -> None:
    """Those in the database were made of the same places."""
    grams = {text[at : at + 3].encode("utf-8", "surrogatepass") for text in texts for at in range(len(text) - 2)}
    places = {zlib.crc32(gram) % MIN_BITS for gram in grams}
    made = signature(texts)
    assert made is not None
    assert {bit for bit in range(MIN_BITS) if made[bit >> 3] >> (bit & 7) & 1} == places


def test_what_is_not_there_is_ruled_out() -> None:
    made = signature(["the quick brown fox", "jumps over the lazy dog"])
    assert made is not None
    assert not holds(made, "orchard")
    assert not holds(made, "quick fox")
    assert holds(made, "or")  # too short to tell


def test_a_text_that_holds_too_much_has_no_signature() -> None:
    some = (chr(0x4E00 + number) for number in range(MAX_BITS // 2 + 3))
    assert signature(["".join(some)]) is None


TEXTS = (
    {"subject": "Invoice 42", "text": "The drivers were running late."},
    {"subject": "Rechnung", "text": "Die HÄUSER der Familie Müller"},
    {"subject": "Quick notes", "text": "a quick brown fox", "from_": "Zoë Brown <zoe@bus.example>"},
    {"subject": "東京都の天気", "text": "北京大学で会いましょう"},
    {"subject": "none", "text": ""},
)
CASES = (
    (Contains(TextField.EVERYWHERE, "river"), [1]),
    (Contains(TextField.BODY, "häuser"), [2]),
    (Contains(TextField.BODY, "ick bro"), [3]),
    (Contains(TextField.SUBJECT, "ick bro"), []),
    (Contains(TextField.FROM, "ZOE@BUS"), [3]),
    (Contains(TextField.TEXT, "京大学"), [4]),
    (Contains(TextField.TEXT, "北"), [4]),
    (Not(Contains(TextField.EVERYWHERE, "drivers")), [2, 3, 4, 5]),
    (Header("subject", "voice"), [1]),
    (Header("subject", ""), [1, 2, 3, 4, 5]),
    (Contains(TextField.EVERYWHERE, "subject: none"), [5]),
)


@pytest.mark.postgres
async def test_searches_find_the_same_with_signatures_and_without(
    storage: Storage,
    postgres_dsn: str,
    account: Callable[..., Awaitable[AccountRecord]],
    new_message: Callable[..., NewMessage],
) -> None:
    owner = (await account()).id
    inbox = next(box.id for box in await storage.mail.mailboxes(owner) if box.role is Role.INBOX)
    appended = await storage.mail.append([new_message(owner, inbox, **text) for text in TEXTS])
    ids = [one.message for one in appended]

    async def found() -> list[list[int]]:
        results = [await storage.mail.search(owner, SearchQuery(where, mailbox=inbox)) for where, _ in CASES]
        return [[ids.index(MessageId(one)) + 1 for one in result.ids] for result in results]

    expected = [places for _, places in CASES]
    assert await found() == expected
    (indexer,) = storage.search.indexers().values()
    while (await indexer.step(Epoch(1), 50)).claimed:
        pass
    assert await found() == expected
    connection = await asyncpg.connect(postgres_dsn)
    try:
        assert await connection.fetchval("SELECT count(*) FROM message_index WHERE grams IS NULL") == 0
        # Rows of before there were signatures are looked through; a signature without any bit rules its message out.
        await connection.execute("UPDATE message_index SET grams = NULL")
        assert await found() == expected
        await connection.execute("UPDATE message_index SET grams = decode(repeat('00', 64), 'hex')")
        assert await found() == [[], [], [], [], [], [], [4], [1, 2, 3, 4, 5], [], [1, 2, 3, 4, 5], []]
    finally:
        await connection.close()
