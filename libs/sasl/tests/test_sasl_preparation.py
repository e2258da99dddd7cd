"""SASLprep: the examples of RFC 4013 3, and what passwords are made of nowadays."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_sasl.preparation import password_form, prepared


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ("I\u00adX", "IX"),
        ("user", "user"),
        ("USER", "USER"),
        ("\u00aa", "a"),
        ("\u2168", "IX"),
        ("\u0007", None),
        ("\u0627\u0031", None),
        ("\u0627\u0031\u0628", "\u0627\u0031\u0628"),
        ("a\u00a0b", "a b"),
        ("a\ue000", None),
        ("\U0001f511 key", "\U0001f511 key"),
    ],
)
def test_prepared(given: str, found: str | None) -> None:
    assert prepared(given) == found


@given(st.text(max_size=40))
def test_a_prepared_password_is_not_prepared_further(password: str) -> None:
    once = password_form(password)
    assert password_form(once) == once
