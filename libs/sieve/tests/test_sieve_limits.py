"""A run is bounded in steps, time, redirects, actions, variables and edits; at a bound the message is kept."""

import re
from collections.abc import Callable
from itertools import count

import pytest

from posthorn_sieve import LimitReached, Limits, Outcome, compile_script
from posthorn_sieve.actions import Keep

Filtered = Callable[..., Outcome]


def stopped(outcome: Outcome, problem: str) -> bool:
    assert outcome.actions == (Keep(),)
    assert isinstance(outcome.fault, LimitReached)
    return re.search(problem, outcome.fault.public) is not None


def test_steps(filtered: Filtered) -> None:
    assert stopped(filtered("if true {}" * 100, limits=Limits(steps=50)), "more than 50 steps")


def test_time(filtered: Filtered) -> None:
    clock = count(step=1.0)
    outcome = filtered("if true {}" * 1_000, monotonic=lambda: next(clock), limits=Limits(seconds=3))
    assert stopped(outcome, "longer than 3 s")


def test_redirects(filtered: Filtered) -> None:
    script = "".join(f'redirect "u{n}@example.org";' for n in range(6))
    assert stopped(filtered(script), "more than 5 addresses")


def test_actions(filtered: Filtered) -> None:
    script = "".join(f'fileinto "m{n}";' for n in range(65))
    assert stopped(filtered(script, "fileinto"), "more than 64 actions")


def test_variables(filtered: Filtered) -> None:
    script = "".join(f'set "v{n}" "x";' for n in range(300))
    assert stopped(filtered(script, "variables"), "more than 256 variables")
    grown = 'set "a" "0123456789";' + 'set "a" "${a}${a}${a}${a}";' * 12
    # RFC 5229 6: too long a value is cut, not refused
    outcome = filtered(grown + 'if string :matches "${a}" "*" { set :length "n" "${a}"; fileinto "${n}"; }',
                       "variables", "fileinto")  # fmt: skip
    assert outcome.fault is None
    assert outcome.actions[0].mailbox == "8192"  # type: ignore[union-attr]


def test_a_long_text(filtered: Filtered) -> None:
    script = 'set "a" "0123456789";' + 'set "a" "${a}${a}${a}${a}";' * 6 + f'fileinto "{"${a}" * 20}";'
    assert stopped(filtered(script, "variables", "fileinto"), "a text is longer than 65536")


def test_scripts_that_include_each_other(filtered: Filtered) -> None:
    loop = compile_script(b'require "include"; include "loop";')
    outcome = filtered('include "loop";', "include", scripts={("personal", "loop"): loop})
    assert stopped(outcome, "include each other")


def test_edits(filtered: Filtered) -> None:
    assert stopped(filtered('addheader "X-A" "b";' * 101, "editheader"), "changes the message more than 100 times")
    many = filtered('foreverypart { addheader "X-A" "b"; }', "editheader", "foreverypart", limits=Limits(edits=0))
    assert stopped(many, "changes the message")


def test_duplicates(filtered: Filtered) -> None:
    class Never(dict[bytes, bool]):
        def __contains__(self, key: object) -> bool:
            return True

        def __getitem__(self, key: bytes) -> bool:
            return False

    script = "".join(f'if duplicate :uniqueid "{n}" {{}}' for n in range(20))
    assert stopped(filtered(script, "duplicate", seen=Never()), "looks for more than 16 duplicates")


@pytest.mark.parametrize("pattern", ["(a+)+$", "(a|a)*b", "(.*)*c"])
def test_a_regular_expression_takes_linear_time(filtered: Filtered, pattern: str) -> None:
    content = b"Subject: " + b"a" * 50_000 + b"!\r\n\r\n"
    outcome = filtered(f'if header :regex "subject" "{pattern}" {{ discard; }}', "regex", content=content)
    assert outcome.fault is None
    assert outcome.actions == (Keep(),)


def test_a_glob_takes_no_step_back(filtered: Filtered) -> None:
    content = b"Subject: " + b"a" * 50_000 + b"!\r\n\r\n"
    outcome = filtered(f'if header :matches "subject" "{"*a" * 200}b" {{ discard; }}', content=content)
    assert outcome.fault is None
    assert outcome.actions == (Keep(),)


def test_the_same_run_twice_is_the_same(filtered: Filtered) -> None:
    script = 'set "a" "b"; fileinto "${a}";'
    assert filtered(script, "variables", "fileinto") == filtered(script, "variables", "fileinto")
