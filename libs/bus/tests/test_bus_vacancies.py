"""When a process asks for keys that it is not proposed, on a clock of the test's own."""

from collections.abc import Mapping

from posthorn_bus.vacancies import FIRST, Vacancies
from posthorn_model.ids import Epoch

TTL = 8.0
KEYS = tuple(f"queue/{number}" for number in range(16))


def held(**owners: range) -> Mapping[str, tuple[str, Epoch, float]]:
    """Leases with three seconds left, by their owners."""
    return {f"queue/{number}": (owner, Epoch(1), 3.0) for owner, numbers in owners.items() for number in numbers}


def seen_by(owner: str, holders: Mapping[str, tuple[str, Epoch, float]]) -> Vacancies:
    """What this process knows at the time 100."""
    found = Vacancies(owner, KEYS, TTL)
    found.look(holders, 100.0)
    return found


def test_what_the_dead_leave_is_shared_out_at_once_and_nobody_takes_more_than_an_even_share() -> None:
    holders = held(a=range(5), b=range(5, 10), dead=range(10, 16))
    alive = {name: seen_by(name, holders) for name in ("a", "b")}
    again = {key: (owner, epoch, left + 3) for key, (owner, epoch, left) in holders.items() if owner != "dead"}
    left = {key: (owner, epoch, 0.0 if owner == "dead" else 6.0) for key, (owner, epoch, _) in holders.items()}
    for name, its in alive.items():
        own = {key for key, (owner, _, _) in holders.items() if owner == name}
        its.look({**holders, **again}, 100.0)
        assert its.open(103.0, 5, own) == frozenset()
        assert 103.0 < its.next(103.0, 5, own, ()) < 103.0 + TTL / 20
        its.look(left, 103.1)
        taken = its.open(103.0 + TTL / 20, 5, own)
        assert len(taken) == 3
        assert taken <= {f"queue/{number}" for number in range(10, 16)}
        # Nobody took the rest.
        assert len(its.open(103.0 + TTL / 2, 5, own)) == 6


def test_who_is_proposed_a_key_asks_first_and_others_each_at_a_time_of_their_own() -> None:
    all_of_one = held(dead=range(16))
    turns = {seen_by(f"p{number}", all_of_one).next(100.0, 0, KEYS[1:], ()) for number in range(20)}
    assert len(turns) == 20
    assert min(turns) > 103.0 + FIRST
    assert seen_by("p1", all_of_one).next(100.0, 0, KEYS[1:], KEYS[:1]) == 103.0 + FIRST


def test_what_was_given_back_is_left_to_others_for_half_a_lease() -> None:
    its = seen_by("a", held(b=range(16)))
    its.look({}, 101.0)
    its.look({}, 103.0)
    assert its.open(101.0 + TTL / 2, 0, ()) == frozenset()
    assert its.open(101.0 + TTL, 0, ()) == frozenset(KEYS)


def test_what_was_taken_or_asked_for_is_not_asked_for_again_at_once() -> None:
    its = seen_by("a", held(dead=range(2)))
    late = 103.0 + TTL
    assert its.open(late, 0, KEYS[2:]) == {"queue/0", "queue/1"}
    its.taken("queue/0", late)
    assert its.open(late, 0, KEYS[2:]) == {"queue/1"}
    its.asked(["queue/1"], late)
    assert its.open(late, 0, KEYS[2:]) == frozenset()
    assert its.open(late + TTL / 2, 0, KEYS[2:]) == {"queue/1"}


def test_a_renewed_lease_is_waited_for_anew() -> None:
    its = seen_by("a", held(b=range(16)))
    its.look(held(b=range(16)), 102.0)
    assert its.open(104.9, 0, ()) == frozenset()
    assert its.elsewhere("queue/3")
    assert not seen_by("b", held(b=range(16))).elsewhere("queue/3")
