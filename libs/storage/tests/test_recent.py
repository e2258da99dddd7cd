"""Answers that may be a little old."""

from posthorn_storage.recent import Recent


class Hand:
    """A clock that goes by hand."""

    now = 0.0

    def __call__(self) -> float:
        return self.now


def test_an_answer_lasts_as_long_as_it_may_and_is_bounded_in_number() -> None:
    hand = Hand()
    recent: Recent[str, int | None] = Recent(hand, 3.0, 2)
    for value, key in enumerate("abc"):
        recent.remember(key, value, recent.mark)
    recent.remember("b", None, recent.mark)
    assert recent.fresh("abcd") == {"b": None, "c": 2}
    hand.now = 2.9
    recent.remember("d", 4, recent.mark)
    assert recent.fresh("bd") == {"b": None, "d": 4}
    hand.now = 3.0
    assert recent.fresh("bd") == {"d": 4}
    assert len(recent) == 2


def test_what_was_asked_before_something_was_forgotten_is_not_remembered() -> None:
    recent: Recent[str, int] = Recent(Hand(), 3.0, 10)
    mark = recent.mark
    recent.remember("a", 1, mark)
    recent.remember("b", 1, mark)
    recent.forget(["a"])
    assert recent.fresh("ab") == {"b": 1}
    recent.remember("a", 1, mark)
    assert recent.fresh("ab") == {"b": 1}
    mark = recent.mark
    recent.forget([])  # nothing changed
    recent.remember("a", 2, mark)
    assert recent.fresh("ab") == {"a": 2, "b": 1}
    recent.forget()
    assert recent.fresh("ab") == {}
