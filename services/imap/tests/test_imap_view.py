"""The client's numbering: whatever happens and whenever it is told, the client's own book-keeping agrees."""

from dataclasses import dataclass, field

from hypothesis import given
from hypothesis import strategies as st

from posthorn_imap.protocol.sets import parse_set
from posthorn_imap.protocol.view import Exists, Expunged, FlagsChanged, Update, View


def test_new_messages_are_told_as_exists() -> None:
    view = View([1, 2])
    view.happened(new=[5, 6])
    assert view.stale
    assert view.total == 2
    assert view.take_updates(expunges=False) == [Exists(4)]
    assert list(view.uids) == [1, 2, 5, 6]
    assert not view.stale


def test_expunges_wait_and_keep_the_numbers_until_then() -> None:
    view = View([1, 2, 3, 4])
    view.happened(gone=[2, 4])
    assert view.take_updates(expunges=False) == []
    assert view.number(3) == 3
    assert view.chosen(parse_set(b"1:*"), uid=False) == [(1, 1), (3, 3)]
    assert view.names_gone(parse_set(b"2"), uid=False)
    assert view.take_updates(expunges=True) == [Expunged(4, 4), Expunged(2, 2)]
    assert view.number(3) == 2
    assert view.take_updates(expunges=True) == []


def test_a_message_that_came_and_went_unseen_is_never_told() -> None:
    view = View([1])
    view.happened(new=[2])
    view.happened(changed=[2])
    view.happened(gone=[2])
    assert view.take_updates(expunges=True) == []
    assert view.total == 1


def test_flags_are_told_once_and_not_for_what_is_gone_or_known() -> None:
    view = View([1, 2, 3])
    view.happened(changed=[1, 2, 3], gone=[2])
    view.told([3])
    assert view.take_updates(expunges=True) == [Expunged(2, 2), FlagsChanged(1, 1)]
    assert view.take_updates(expunges=True) == []


def test_many_expunges_at_once() -> None:
    view = View(range(1, 1001))
    view.happened(gone=range(1, 1001, 2))
    told = view.take_updates(expunges=True)
    assert [update.number for update in told if isinstance(update, Expunged)] == list(range(999, 0, -2))
    assert list(view.uids) == list(range(2, 1001, 2))


def test_uids_in_ranges_and_saved_results() -> None:
    view = View([3, 5, 9])
    assert view.chosen(parse_set(b"4:*"), uid=True) == [(2, 5), (3, 9)]
    from posthorn_imap.protocol.sets import SAVED

    assert view.chosen(SAVED, uid=False, saved=[9, 4]) == [(3, 9)]


@dataclass
class Client:
    """What a client keeps: UIDs by number, asked for by FETCH of new numbers."""

    known: list[int]
    changed: set[int] = field(default_factory=set)

    def hear(self, updates: list[Update], view: View) -> None:
        for update in updates:
            match update:
                case Expunged(number, uid):
                    assert self.known.pop(number - 1) == uid
                case Exists(total):
                    assert total > len(self.known)
                    self.known += view.uids[len(self.known) :]
                    assert len(self.known) == total
                case FlagsChanged(number, uid):
                    assert self.known[number - 1] == uid
                    self.changed.add(uid)


_STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("new"), st.integers(1, 3)),
        st.tuples(st.just("gone"), st.integers(0, 30)),
        st.tuples(st.just("changed"), st.integers(0, 30)),
        st.tuples(st.just("tell"), st.booleans()),
    ),
    max_size=40,
)


@given(st.integers(0, 8), _STEPS)
def test_the_clients_book_keeping_agrees_with_the_mailbox(first: int, steps: list[tuple[str, int]]) -> None:
    store = list(range(1, first + 1))
    uidnext = first + 1
    view, client = View(store), Client(list(store))
    expected: set[int] = set()
    for step, value in steps:
        if step == "new":
            added = list(range(uidnext, uidnext + value))
            uidnext += value
            store += added
            view.happened(new=added)
        elif step == "gone" and store:
            uid = store.pop(value % len(store))
            expected.discard(uid)
            view.happened(gone=[uid])
        elif step == "changed" and store:
            uid = store[value % len(store)]
            expected.add(uid)
            view.happened(changed=[uid])
        elif step == "tell":
            client.hear(view.take_updates(expunges=bool(value)), view)
            for number, uid in enumerate(client.known, 1):
                assert view.number(uid) == number
    client.hear(view.take_updates(expunges=True), view)
    assert client.known == store
    assert expected <= client.changed
