"""RFC 5228: control, tests and actions of the base language."""

from collections.abc import Callable

import pytest

from posthorn_sieve import Outcome
from posthorn_sieve.actions import FileInto, Keep, Redirect

Filtered = Callable[..., Outcome]
Holds = Callable[..., bool]


@pytest.mark.parametrize(
    ("script", "actions"),
    [
        ("", (Keep(),)),
        ("keep;", (Keep(),)),
        ("keep; keep;", (Keep(),)),
        ("discard;", ()),
        ("discard; keep;", (Keep(),)),
        ("stop; discard;", (Keep(),)),
        ("if true { stop; } discard;", (Keep(),)),
        ('fileinto "Work";', (FileInto("Work"),)),
        ('fileinto "Work"; fileinto "Work";', (FileInto("Work"),)),
        ('fileinto "Work"; keep;', (FileInto("Work"), Keep())),
        ('keep; fileinto "inbox";', (Keep(),)),
        ('redirect "eve@example.org";', (Redirect("eve@example.org"),)),
        ('redirect "eve@example.org"; redirect "eve@example.org"; keep;', (Redirect("eve@example.org"), Keep())),
        ('if false { discard; } elsif true { fileinto "a"; } elsif true { fileinto "b"; } else { fileinto "c"; }',
         (FileInto("a"),)),
        ('if false { discard; } elsif false { discard; } else { fileinto "c"; }', (FileInto("c"),)),
        ('if true { fileinto "a"; } else { discard; } if false { discard; } else { fileinto "b"; }',
         (FileInto("a"), FileInto("b"))),
    ],
)  # fmt: skip
def test_control_and_actions(filtered: Filtered, script: str, actions: tuple[object, ...]) -> None:
    assert filtered(script, "fileinto").actions == actions


@pytest.mark.parametrize(
    ("test", "result"),
    [
        ("true", True),
        ("false", False),
        ("not false", True),
        ("allof (true, true)", True),
        ("allof (true, false)", False),
        ("anyof (false, true)", True),
        ("anyof (false, false)", False),
        ('exists "subject"', True),
        ('exists ["Subject", "FROM"]', True),
        ('exists ["Subject", "X-None"]', False),
        ("size :over 100", True),
        ("size :over 1K", False),
        ("size :under 1K", True),
        ("size :under 10", False),
        ('header "subject" "Café at noon"', True),
        ('header "subject" "CAFé AT NOON"', True),
        ('header :comparator "i;octet" "subject" "CAFé at noon"', False),
        ('header :contains "subject" "at"', True),
        ('header :contains "subject" ""', True),
        ('header :contains "X-None" ""', False),
        ('header :is "x-priority" "3"', True),
        ('header :matches "subject" "*at*"', True),
        ('header :matches "subject" "caf? at noon"', True),
        ('header :matches "subject" "*noo"', False),
        ('header :matches "subject" "*n*n"', True),
        ('header :matches "x-priority" "?"', True),
        ('header :matches "x-priority" "??"', False),
        ('header :matches "x-priority" "\\\\?"', False),
        ('header ["x-none", "x-priority"] ["2", "3"]', True),
        ('address "from" "ann@example.org"', True),
        ('address "from" "ANN@EXAMPLE.ORG"', True),
        ('address :localpart "to" "carol"', True),
        ('address :domain ["to", "cc"] "example.com"', True),
        ('address :domain "from" "example.com"', False),
        ('address :all :contains "from" "Ann Example"', False),
    ],
)
def test_tests(holds: Holds, test: str, result: bool) -> None:
    assert holds(test) is result


@pytest.mark.parametrize(
    ("test", "result"),
    [
        ('envelope "from" "ann@example.org"', True),
        ('envelope :localpart "to" "bob+news"', True),
        ('envelope :domain "to" "example.com"', True),
        ('envelope "auth" ""', False),
    ],
)
def test_the_envelope(holds: Holds, test: str, result: bool) -> None:
    assert holds(test, "envelope") is result


def test_the_null_reverse_path_is_empty(holds: Holds) -> None:
    assert holds('envelope "from" ""', "envelope", sender="")
    assert not holds('envelope :domain "from" ""', "envelope", sender="")
    assert holds('envelope "auth" "ann"', "envelope", login="ann")


def test_encoded_characters(filtered: Filtered, holds: Holds) -> None:
    assert filtered('fileinto "${unicode:40}${hex: 24 7b}x";', "fileinto", "encoded-character").actions == (
        FileInto("@${x"),
    )
    assert filtered('fileinto "${hex:40}";', "fileinto").actions == (FileInto("${hex:40}"),)
    assert filtered('fileinto "${hex:400}${Unicode: 1F4e7 }";', "fileinto", "encoded-character").actions == (
        FileInto("${hex:400}\U0001f4e7"),
    )


def test_a_failing_script_keeps_and_says_where(filtered: Filtered) -> None:
    outcome = filtered('discard;\nfileinto "";', "fileinto")
    assert outcome.actions == (Keep(),)
    assert outcome.fault is not None
    assert outcome.fault.line == 3
