"""The targets of `make fuzz` on inputs made of the words of each protocol; short, and the same in every run."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.fuzz.targets import CHOOSING, TARGETS, TOKENS


@pytest.mark.parametrize("target", TARGETS)
def test_no_input_of_its_own_words_breaks_a_target(target: str) -> None:
    words = st.one_of(st.sampled_from(TOKENS[target]), st.binary(max_size=4))

    @settings(max_examples=300, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))
    @given(st.binary(min_size=8, max_size=8), st.lists(words, max_size=40))
    def check(how: bytes, parts: list[bytes]) -> None:
        TARGETS[target](how[: CHOOSING[target]] + b"".join(parts))

    check()


@pytest.mark.parametrize("target", TARGETS)
def test_inputs_without_sense_break_nothing(target: str) -> None:
    for data in (
        b"",
        b"\0" * 20_000,
        b"\xff" * 20_000,
        b"\r\n" * 10_000,
        b"\r\n." * 10_000,
        b"(" * 20_000,
        b"<" * 20_000,
    ):
        TARGETS[target](data)
