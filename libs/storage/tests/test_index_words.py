"""Cutting texts into words, and what is asked for into terms: known answers, and anything hostile. Pure."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_model.errors import TooMany
from posthorn_model.ids import AccountId
from posthorn_storage.index.marks import marker
from posthorn_storage.index.port import Texts, Wanted
from posthorn_storage.index.terms import MAX_TEXT, MAX_WORDS, Term, terms
from posthorn_storage.index.tsquery import tsquery
from posthorn_storage.index.vector import MAX_BYTES, vector
from posthorn_storage.index.words import MAX_WORD, plain, words
from posthorn_storage.mail.search import TextField


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("The quick, brown FOX!", ["the", "quick", "brown", "fox"]),
        ("ann.smith@example.org", ["ann", "smith", "example", "org"]),
        ("don't under_score", ["don", "t", "under", "score"]),
        ("Straße STRASSE", ["strasse", "strasse"]),
        ("ﬁne １２３", ["fine", "123"]),
        ("cafe\u0301 café", ["café", "café"]),
        ("Добрый день", ["добрый", "день"]),
        ("हिन्दी में", ["हिन्दी", "में"]),
        ("東京都", ["東京", "京都", "都"]),
        ("買a本", ["買", "a", "本"]),
        ("서울시 날씨", ["서울", "울시", "시", "날씨", "씨"]),
        ("ภาษา", ["ภา", "าษ", "ษา", "า"]),
        ("x" * 100, ["x" * MAX_WORD]),
        ("!?, \n🎉", []),
        ("", []),
    ],
)
def test_a_text_is_cut_into_words(text: str, found: list[str]) -> None:
    assert list(words(text)) == found


@pytest.mark.parametrize(("word", "bare"), [("müller", "muller"), ("łódź", "lodz"), ("abc", "abc"), ("й", "и")])
def test_accents_do_not_count(word: str, bare: str) -> None:
    assert plain(word) == bare


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("two words", [Term(("two",), loose=True), Term(("words",), loose=True)]),
        ('"two words"', [Term(("two", "words"))]),
        ("'one' two", [Term(("one",)), Term(("two",), loose=True)]),
        (r'"say \"hi\" now"', [Term(("say", "hi", "now"))]),
        ("don't", [Term(("don", "t"))]),
        ('"never closed', [Term(("never",), loose=True), Term(("closed",), loose=True)]),
        ("invo*", [Term(("invo",), prefix=True)]),
        ("foo-ba*", [Term(("foo", "ba"), prefix=True)]),
        ("* **", []),
        ("ann@example.org", [Term(("ann", "example", "org"))]),
        ("東", [Term(("東",), prefix=True)]),
        ("東京都", [Term(("東京", "京都"))]),
        ("iPhone東京", [Term(("iphone", "東京"))]),
        ("same same", [Term(("same",), loose=True)]),
        ("& | ! <-> ( ) : ' \\", []),
        ("", []),
    ],
)
def test_a_text_is_read_as_terms(text: str, found: list[Term]) -> None:
    assert list(terms(text)) == found


def test_what_is_asked_for_is_bounded() -> None:
    assert len(terms(" ".join(f"w{n}" for n in range(MAX_WORDS)))) == MAX_WORDS
    with pytest.raises(TooMany):
        terms(" ".join(f"w{n}" for n in range(MAX_WORDS + 1)))
    with pytest.raises(TooMany):
        terms("x" * (MAX_TEXT + 1))


def test_words_beyond_the_bound_are_left_out() -> None:
    body = " ".join(f"word{n}" for n in range(100_000))
    made = vector(AccountId(7), Texts("", "", "", "", "first", body), "simple", {})
    assert made.startswith("'7=first':")
    assert len(made) < 2 * MAX_BYTES


@given(st.text(max_size=MAX_TEXT))
def test_no_text_gets_a_sign_into_a_query(text: str) -> None:
    """Between the quotes of a query there is never a quote or a backslash, whatever was asked for."""
    try:
        found = terms(text)
    except TooMany:
        return
    made = tsquery(AccountId(1), Wanted(TextField.BODY, found), {"english": {}})
    for inside in made.split("'")[1::2]:
        assert inside[0] == "1"
        assert not set(inside) & set("'\\&|!()<> \0")
    for outside in made.split("'")[0::2]:
        assert not set(outside) - set(" &|<->():*CD")


@given(st.text(max_size=2_000))
def test_index_and_query_cut_alike(text: str) -> None:
    """Every phrase taken from a text is made of words that the text has in the same order."""
    there = list(words(text))
    for term in terms('"' + text.replace("\\", " ").replace('"', " ") + '"') if len(text) < 100 else ():
        assert [word for word in there if word in term.words]


@pytest.mark.parametrize(
    ("text", "marked"),
    [
        ("A running DRIVER, driven by no one", ["DRIVER"]),
        ("Häuser und hauser", ["Häuser", "hauser"]),
        ("明日は東京都です", ["東京"]),
        ("businesses in business", ["businesses", "business"]),
        ("nothing 🎉 here", ["🎉"]),
        ("the quick fox is quick", ["quick", "fox", "quick"]),
    ],
)
async def test_what_was_found_is_marked(text: str, marked: list[str]) -> None:
    stems = KnownStems({"drivers": "driver"})
    sought = ["drivers", "hauser", "東京", "busi*", "🎉", '"quick fox"']
    made = await marker(stems, sought)  # type: ignore[arg-type]
    assert made is not None
    assert [text[start:end] for start, end in made.places(text)] == marked


class KnownStems:
    """Stems as a dictionary would have them; the database's own are asked in the tests of the store."""

    def __init__(self, stems: dict[str, str]) -> None:
        self._stems = stems

    async def of_all(self, words: set[str]) -> dict[str, dict[str, str]]:
        return {"english": {word: self._stems.get(word, word) for word in words}}


async def test_nothing_looked_for_marks_nothing() -> None:
    assert await marker(KnownStems({}), []) is None  # type: ignore[arg-type]
    assert await marker(KnownStems({}), ["  "]) is None  # type: ignore[arg-type]
