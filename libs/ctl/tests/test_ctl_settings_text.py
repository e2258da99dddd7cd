"""Overrides from the command line, and the TOML that is written for nodes."""

import tomllib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.node_file import processes_asked
from posthorn_ctl.cluster.toml_text import merged, override, rendered
from posthorn_node.settings.processes import processors
from posthorn_node.settings.values import MOST_PROCESSES

VALUES = st.recursive(
    st.booleans() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
    lambda inner: st.lists(inner, max_size=3),
    max_leaves=5,
)
KEYS = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=8)
TABLES = st.dictionaries(KEYS, VALUES, max_size=3)
TREES = st.recursive(TABLES, lambda inner: st.dictionaries(KEYS, VALUES | inner, max_size=3), max_leaves=8)


@given(TREES)
def test_what_is_written_is_read_back(tree: dict[str, object]) -> None:
    assert tomllib.loads(rendered(tree)) == tree


@pytest.mark.parametrize(
    ("text", "tree"),
    [
        ('smtp-out.relay="127.0.0.1:2525"', {"smtp-out": {"relay": "127.0.0.1:2525"}}),
        ("smtp-out.relay=127.0.0.1:2525", {"smtp-out": {"relay": "127.0.0.1:2525"}}),
        ('resolver.servers=["127.0.0.1:5353"]', {"resolver": {"servers": ["127.0.0.1:5353"]}}),
        ("cluster.queue-shards=4", {"cluster": {"queue-shards": 4}}),
        ('log.level=a "quoted" word', {"log": {"level": 'a "quoted" word'}}),
        ('server.listener."my imap".tls=none', {"server": {"listener": {"my imap": {"tls": "none"}}}}),
    ],
)
def test_an_override_is_toml_or_text(text: str, tree: dict[str, object]) -> None:
    assert override(text) == tree


@pytest.mark.parametrize("text", ["", "relay", "=1", "a b=1", "a..b=1"])
def test_what_is_no_override_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(ClusterError, match=r"section\.key=value"):
        override(text)


def test_overrides_go_on_top_and_leave_the_rest() -> None:
    below = {"a": {"b": 1, "c": {"d": 2}}, "e": 3}
    assert merged(below, {"a": {"c": {"d": 4}}, "e": {"f": 5}}) == {"a": {"b": 1, "c": {"d": 4}}, "e": {"f": 5}}
    assert below == {"a": {"b": 1, "c": {"d": 2}}, "e": 3}


@pytest.mark.parametrize(
    ("overrides", "count"),
    [
        ({}, 1),
        ({"server": {"processes": 3}}, 3),
        ({"server": {"processes": 3}, "imap": {"processes": 2}}, 2),
        ({"imap": {"processes": "auto"}}, processors()),
        ({"imap": "nonsense", "server": {"processes": 10**6}}, MOST_PROCESSES),
    ],
    ids=["one", "all alike", "its own", "one per processor", "nonsense"],
)
def test_connections_are_shared_out_among_all_processes_that_are_asked_for(
    overrides: dict[str, Any], count: int
) -> None:
    assert processes_asked("imap", overrides) == count
