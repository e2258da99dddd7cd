"""`posthorn migrate` with shards in the settings, then `posthorn shard list` and `move`, as an operator runs them."""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

Posthorn = Callable[..., "subprocess.CompletedProcess[str]"]


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

        def run(*arguments: str) -> "subprocess.CompletedProcess[str]":
            command = [sys.executable, "-m", "posthorn_ctl", *arguments, "--config", str(config)]
            return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110)

        yield run


def test_an_account_of_a_region_is_kept_there(posthorn: Posthorn) -> None:
    assert posthorn("migrate").returncode == 0
    posthorn("domain", "add", "example.org")
    added = json.loads(posthorn("account", "add", "zoe@example.org", "--region", "eu", "--json").stdout)
    assert added["region"] == "eu"
    shown = json.loads(posthorn("account", "show", "zoe@example.org", "--json").stdout)
    assert (shown["shard"], shown["region"]) == ("east", "eu")
    regions = {
        each["name"]: each["region"] for each in json.loads(posthorn("shard", "list", "--json").stdout)["shards"]
    }
    assert regions == {"postgres": None, "east": "eu", "west": None}
    moved = posthorn("shard", "move", "zoe@example.org", "--to", "west")
    assert moved.returncode == 1
    assert 'pinned to the region "eu", and that shard is in no region' in moved.stderr
    nowhere = posthorn("account", "add", "tom@example.org", "--region", "asia")
    assert nowhere.returncode == 1
    assert 'no shard of these settings stands in the region "asia"' in nowhere.stderr


def test_shards_from_migration_to_move(posthorn: Posthorn) -> None:
    unready = posthorn("shard", "list")
    assert unready.returncode != 0
    assert "migrate" in unready.stderr
    migrated = posthorn("migrate")
    assert migrated.returncode == 0, migrated.stderr
    posthorn("domain", "add", "example.org")
    for name in ("ann", "zoe"):
        added = posthorn("account", "add", f"{name}@example.org")
        assert added.returncode == 0, added.stderr
    listed = json.loads(posthorn("shard", "list", "--json").stdout)
    counts = {shard["name"]: shard["accounts"] for shard in listed["shards"]}
    assert counts == {"postgres": 0, "east": 1, "west": 1}
    moved = posthorn("shard", "move", "ann@example.org", "--to", "west")
    assert moved.returncode == 0, moved.stderr
    assert "ann@example.org moved from east to west: 0 messages" in moved.stdout
    assert "switched" in moved.stderr
    listed = json.loads(posthorn("shard", "list", "--json").stdout)
    assert [move["state"] for move in listed["moves"]] == ["switched"]
    again = posthorn("shard", "move", "ann@example.org", "--to", "west")
    assert again.returncode == 1
    assert "lives on that shard already" in again.stderr
    nowhere = posthorn("shard", "move", "ann@example.org", "--to", "north")
    assert nowhere.returncode == 1
    assert "not part of the cluster" in nowhere.stderr
    checked = posthorn("check")
    assert checked.returncode == 0, checked.stdout
