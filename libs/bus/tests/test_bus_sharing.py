"""Sharing out keys, role keys, partitions: pure functions."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_bus import BusIdentity, KafkaSettings, SaslSettings, eligible_keys, role_keys, role_of
from posthorn_bus.kafka.connection import client_options
from posthorn_bus.routing import key_number, partition_of, topic_of
from posthorn_bus.sharing import share
from posthorn_model.events import Changed, Control, LeaseNotice, NodeNotice, QueueDue, Topic
from posthorn_model.ids import AccountId, Epoch, Modseq, NodeId

KEYS = [f"queue/{number}" for number in range(16)]
members = st.dictionaries(st.text(max_size=8), st.sets(st.sampled_from(KEYS)), max_size=8)


@given(members)
def test_every_key_goes_to_exactly_one_eligible_member(said: dict[str, set[str]]) -> None:
    shares = share(said)
    assert shares.keys() == said.keys()
    assert all(shares[member] <= said[member] for member in said)
    given_out = sorted(key for keys in shares.values() for key in keys)
    assert given_out == sorted(set().union(*said.values()))


@given(st.sets(st.text(max_size=8), min_size=1, max_size=8))
def test_equal_members_get_equal_shares(names: set[str]) -> None:
    shares = share(dict.fromkeys(names, KEYS))
    assert max(len(keys) for keys in shares.values()) <= math.ceil(len(KEYS) / len(names))


def test_a_key_is_shared_out_among_those_who_are_near_it() -> None:
    said = {f"{node}-smtp-out": KEYS for node in range(1, 6)}
    near = {"1-smtp-out": KEYS[:8], "2-smtp-out": KEYS[:8], "3-smtp-out": KEYS[8:], "4-smtp-out": ["queue/99"]}
    shares = share(said, near)
    assert {len(shares[name]) for name in ("1-smtp-out", "2-smtp-out")} == {4}
    assert shares["1-smtp-out"] | shares["2-smtp-out"] == set(KEYS[:8])
    assert shares["3-smtp-out"] == set(KEYS[8:])
    assert shares["4-smtp-out"] == shares["5-smtp-out"] == frozenset()
    del said["3-smtp-out"]
    assert set().union(*share(said, near).values()) == set(KEYS)


def test_the_order_in_which_members_are_seen_does_not_matter() -> None:
    said = {f"{node}-smtp-out": KEYS for node in range(1, 6)}
    assert share(said) == share(dict(reversed(said.items())))


def test_when_one_of_many_leaves_most_keys_stay() -> None:
    keys = [f"queue/{number}" for number in range(64)]
    before = share({f"{node}-smtp-out": keys for node in range(1, 9)})
    after = share({f"{node}-smtp-out": keys for node in range(1, 8)})
    stayed = sum(len(before[member] & after[member]) for member in after)
    assert stayed >= 40  # 56 is what the survivors had; a plain modulo would leave about 8


def test_a_role_is_for_the_nodes_it_names_and_a_list_of_lists_makes_parts() -> None:
    assert role_keys("acme.renew", [1, 2]) == {"role/acme.renew": {1, 2}}
    assert role_keys("purge.stores", [[1, 2], [3]]) == {"role/purge.stores/0": {1, 2}, "role/purge.stores/1": {3}}
    roles = {"acme.renew": [1], "purge.stores": [[1, 2], [3]], "metrics.push": []}
    assert eligible_keys(roles, NodeId(1)) == ("role/acme.renew", "role/metrics.push", "role/purge.stores/0")
    assert eligible_keys(roles, NodeId(3)) == ("role/metrics.push", "role/purge.stores/1")
    assert role_of("role/purge.stores/1") == ("purge.stores", 1)
    assert role_of("role/acme.renew") == ("acme.renew", None)


def test_events_go_to_the_topic_and_partition_of_what_they_are_about() -> None:
    notice = LeaseNotice("queue/7", NodeId(1), Epoch(1), held=True)
    assert [topic_of(event) for event in (notice, QueueDue(7))] == [Topic.QUEUE, Topic.QUEUE]
    assert partition_of(notice, 16) == partition_of(QueueDue(7), 16) == 7
    assert topic_of(LeaseNotice("role/acme.renew", NodeId(1), Epoch(1), held=False)) is Topic.ROLES
    assert topic_of(Control("x")) is Topic.CONTROL
    assert topic_of(NodeNotice(NodeId(3), "imap", "ready")) is Topic.NODES
    assert partition_of(Changed(AccountId(25), Modseq(1), frozenset()), 12) == 1
    assert key_number("role/purge.stores/3") == 3


def test_tls_and_sasl_choose_the_protocol() -> None:
    plain = KafkaSettings(("kafka:9092",))
    assert client_options(plain, "x")["security_protocol"] == "PLAINTEXT"
    signed = KafkaSettings(("kafka:9092",), sasl=SaslSettings("SCRAM-SHA-512", "posthorn", "secret"))
    options = client_options(signed, "x")
    assert (options["security_protocol"], options["sasl_mechanism"]) == ("SASL_PLAINTEXT", "SCRAM-SHA-512")
    assert "secret" not in repr(signed)
    with pytest.raises(ValueError, match="SCRAM-SHA-256"):
        SaslSettings("GSSAPI", "posthorn", "secret")
    with pytest.raises(ValueError, match="bootstrap"):
        KafkaSettings(())


def test_a_member_keeps_its_name_over_restarts_and_workers_differ() -> None:
    assert BusIdentity(NodeId(3), "imap", "one").member == BusIdentity(NodeId(3), "imap", "two").member == "3-imap"
    assert BusIdentity(NodeId(3), "imap", "one", worker=2).member == "3-imap-2"
