"""`posthorn migrate` with shards in the settings, then `posthorn shard list` and `move`, as an operator runs them."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from posthorn_testkit.commands import Ended
from posthorn_testkit.commands import posthorn as posthorn_command

Posthorn = Callable[..., Ended]


def store(name: str, dsn: str) -> str:
    return f'[store."{name}"]\ntype = "postgresql"\ndsn = "{dsn}"\n'


@pytest.fixture
def posthorn(databases: Any, tmp_path: Path) -> Iterator[Posthorn]:
    """Runs the command with a settings file that names three empty databases."""
    with databases.bare() as home, databases.bare() as east, databases.bare() as west:
        config = tmp_path / "node.toml"
        config.write_text(
            store("postgres", home)
            + store("east", east)
            + 'region = "eu"\n'
            + store("west", west)
            + f'[store."fs"]\ntype = "fs"\npath = "{tmp_path / "blobs"}"\n'
            + '[storage.shards."east"]\nrange = "a-m"\n[storage.shards."west"]\nweight = 1\n'
        )

        def run(*arguments: str) -> Ended:
            return posthorn_command(*arguments, "--config", str(config))

        yield run


def test_an_account_of_a_region_is_kept_there(posthorn: Posthorn) -> None:
    assert posthorn("migrate").code == 0
    posthorn("domain", "add", "example.org")
    added = json.loads(posthorn("account", "add", "zoe@example.org", "--region", "eu", "--json").out)
    assert added["region"] == "eu"
    shown = json.loads(posthorn("account", "show", "zoe@example.org", "--json").out)
    assert (shown["shard"], shown["region"]) == ("east", "eu")
    regions = {each["name"]: each["region"] for each in json.loads(posthorn("shard", "list", "--json").out)["shards"]}
    assert regions == {"postgres": None, "east": "eu", "west": None}
    moved = posthorn("shard", "move", "zoe@example.org", "--to", "west")
    assert moved.code == 1
    assert 'pinned to the region "eu", and that shard is in no region' in moved.problem
    nowhere = posthorn("account", "add", "tom@example.org", "--region", "asia")
    assert nowhere.code == 1
    assert 'no shard of these settings stands in the region "asia"' in nowhere.problem


def test_shards_from_migration_to_move(posthorn: Posthorn) -> None:
    unready = posthorn("shard", "list")
    assert unready.code != 0
    assert "migrate" in unready.problem
    migrated = posthorn("migrate")
    assert migrated.code == 0, migrated.problem
    posthorn("domain", "add", "example.org")
    for name in ("ann", "zoe"):
        added = posthorn("account", "add", f"{name}@example.org")
        assert added.code == 0, added.problem
    listed = json.loads(posthorn("shard", "list", "--json").out)
    counts = {shard["name"]: shard["accounts"] for shard in listed["shards"]}
    assert counts == {"postgres": 0, "east": 1, "west": 1}
    moved = posthorn("shard", "move", "ann@example.org", "--to", "west")
    assert moved.code == 0, moved.problem
    assert "ann@example.org moved from east to west: 0 messages" in moved.out
    assert "switched" in moved.problem
    listed = json.loads(posthorn("shard", "list", "--json").out)
    assert [move["state"] for move in listed["moves"]] == ["switched"]
    again = posthorn("shard", "move", "ann@example.org", "--to", "west")
    assert again.code == 1
    assert "lives on that shard already" in again.problem
    nowhere = posthorn("shard", "move", "ann@example.org", "--to", "north")
    assert nowhere.code == 1
    assert "not part of the cluster" in nowhere.problem
    checked = posthorn("check")
    assert checked.code == 0, checked.out
