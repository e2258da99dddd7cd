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
from posthorn_storage.index.vector import MAX_BYTES, MAX_PLACE, MAX_PLACES, vector
from posthorn_storage.index.words import MAX_WORD, folded, pairs, plain, runs, words
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


@given(st.text(st.characters(codec="ascii")) | st.text("aZ09_-@ä東京\u0301"))
def test_all_texts_are_cut_by_the_same_rule(text: str) -> None:
    """Those of ASCII take a shorter way."""
    found: list[str] = []
    for run, dense in runs(folded(text)):
        found += [*pairs(run), run[-1]] if dense else [run[:MAX_WORD]]
    assert words(text) == found


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


def test_a_vector_has_every_place_of_a_word_and_each_form_once() -> None:
    texts = Texts("ann <ann@x>", "", "", "", "run", "runs of a run, a café run", attachments="a run")
    assert vector(AccountId(7), texts, "english", {"runs": "run", "a": ""}) == (
        "'7=run':9A,56D,59D,69C '7S=run':1 '7=ann':18B,19B '7F=ann':1,2 '7=x':20B '7F=x':3 "
        "'7=runs':53D '7~en:run':4D '7=of':54D '7=a':55D,57D,68C '7=café':58D '7~:cafe':4D"
    )


def test_places_end_where_those_of_postgresql_do() -> None:
    body = " ".join(["often"] * 2 * MAX_PLACES + ["seldom"] * MAX_PLACE + ["late", "late"])
    made = vector(AccountId(7), Texts("", "", "", "", "", body, attachments="often late late"), "simple", {})
    places = {key: value.split(",") for key, _, value in (entry.partition(":") for entry in made.split(" "))}
    often = [place.removesuffix("D") for place in places["'7=often'"]]
    assert often[0] == "49"
    assert len(often) == MAX_PLACES + 1, "and one for another weight"
    assert often[-1].endswith("C")
    assert len(places["'7=seldom'"]) == MAX_PLACES
    assert [place[-1] for place in places["'7=late'"]] == ["D", "C"]


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
