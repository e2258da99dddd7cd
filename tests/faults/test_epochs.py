"""The checker itself: it finds each kind of wrong ownership, and nothing wrong in a right history."""

import pytest
from tests.faults.epochs import Line, judge

RIGHT = [
    Line("taken", "queue/1", 1, 1, "a"),
    Line("wrote", "queue/1", 1, 1, "a"),
    Line("taken", "role/purge", 1, 1, "b"),
    Line("kept", "queue/1", 1, 1, "a"),
    Line("taken", "queue/1", 2, 2, "b"),
    Line("wrote", "queue/1", 2, 2, "b"),
    Line("taken", "queue/1", 3, 3, "a"),
]


def test_a_right_history_has_nothing_wrong() -> None:
    assert judge(RIGHT) == []


@pytest.mark.parametrize(
    ("line", "told"),
    [
        (Line("wrote", "queue/1", 3, 3, "b"), "a holds it under epoch 3"),
        (Line("wrote", "queue/1", 3, 2, "a"), "the row says epoch 2"),
        (Line("kept", "queue/1", 2, 2, "b"), "a holds it under epoch 3"),
        (Line("wrote", "queue/2", 1, 1, "a"), "nobody holds it"),
        (Line("taken", "queue/1", 3, 3, "b"), "the epoch before was 3"),
        (Line("taken", "queue/1", 4, 4, "b", early=True), "the lease of a had not run out"),
    ],
)
def test_each_wrong_write_is_found(line: Line, told: str) -> None:
    (wrong,) = judge([*RIGHT, line])
    assert told in wrong
