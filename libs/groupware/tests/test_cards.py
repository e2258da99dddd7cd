"""vCards: what is accepted, what is refused, what a filter finds; on our samples and on real address books."""

from pathlib import Path

import pytest

from posthorn_groupware import card
from posthorn_groupware.card import Filter, PropFilter
from posthorn_groupware.filters import ParamFilter, TextMatch
from posthorn_model.errors import InvalidContent

KARL = """BEGIN:VCARD
VERSION:3.0
UID:karl
FN:Karl Postillon
item1.EMAIL;TYPE=work:karl@example.net
EMAIL;TYPE=home:k@example.org
NOTE:a\\, b\\nc
END:VCARD
"""


def vcf(text: str) -> bytes:
    return text.replace("\n", "\r\n").encode()


def test_facts_of_a_card() -> None:
    found = card.parse(vcf(KARL))
    assert (found.uid, found.version) == ("karl", "3.0")
    assert found.values("email") == ["karl@example.net", "k@example.org"]
    assert found.values("NOTE") == ["a, b\nc"]


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (Filter(), True),
        (Filter((PropFilter("FN", texts=(TextMatch("postillon"),)),)), True),
        (Filter((PropFilter("FN", texts=(TextMatch("postillon", match_type="starts-with"),)),)), False),
        (Filter((PropFilter("EMAIL", texts=(TextMatch("K@EXAMPLE.ORG", match_type="equals"),)),)), True),
        (Filter((PropFilter("TEL"),)), False),
        (Filter((PropFilter("TEL", is_not_defined=True),)), True),
        (Filter((PropFilter("TEL"), PropFilter("FN"))), True),
        (Filter((PropFilter("TEL"), PropFilter("FN")), all_of=True), False),
        (Filter((PropFilter("EMAIL", params=(ParamFilter("TYPE", text=TextMatch("work")),)),)), True),
        (Filter((PropFilter("EMAIL", params=(ParamFilter("PREF"),)),)), False),
        (Filter((PropFilter("FN", texts=(TextMatch("karl"), TextMatch("nobody"))),)), True),
        (Filter((PropFilter("FN", texts=(TextMatch("karl"), TextMatch("nobody")), all_of=True),)), False),
    ],
)
def test_filters(wanted: Filter, expected: bool) -> None:
    assert wanted.matches(card.parse(vcf(KARL))) is expected


@pytest.mark.parametrize(
    "text",
    [
        "",
        "garbage",
        KARL.replace("UID:karl\n", ""),
        KARL.replace("3.0", "2.1"),
        KARL + KARL,
        KARL.replace("END:VCARD\n", ""),
        KARL.replace("FN:", "FN "),
        KARL.replace("END:VCARD\n", "NOTE:x\n" * 6000 + "END:VCARD\n"),
    ],
)
def test_what_is_refused(text: str) -> None:
    with pytest.raises(InvalidContent):
        card.parse(vcf(text))


def test_bytes_that_are_not_utf_8_are_refused() -> None:
    with pytest.raises(InvalidContent):
        card.parse(b"BEGIN:VCARD\r\nVERSION:3.0\r\nUID:x\r\nFN:\xff\xfe\r\nEND:VCARD\r\n")


def test_real_cards_parse_or_are_refused_with_a_reason(corpus_folder: Path) -> None:
    accepted = 0
    for path in sorted((corpus_folder / "vcard").rglob("*.vcf")):
        try:
            card.parse(path.read_bytes())
        except InvalidContent:
            continue
        accepted += 1
    assert accepted > 5
