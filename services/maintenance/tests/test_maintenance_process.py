"""maintenance as processes of their own: roles listed and moved by the posthorn command, wrong lists told of."""

import asyncio
import json
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from posthorn_storage import Storage
from posthorn_testkit.node_settings import local
from posthorn_testkit.process import ServiceProcess, running_service

pytestmark = pytest.mark.postgres

SETTINGS = local("""
[cluster]
name = "test"
node-id = {node}
lease-ttl = "15s"
failure-after = "60s"
secret = "a secret that both nodes share"
[cluster.roles]
purge.stores = {stores}
purge.accounts = [[1, 2], [1, 2]]
[server]
hostname = "node{node}.example.org"
data = "{folder}/{node}"
drain-delay = "0s"
[reports.dmarc]
enable = true
""")


@pytest_asyncio.fixture
async def nodes(postgres_dsn: str, storage: Storage, tmp_path: Path) -> AsyncIterator[dict[int, ServiceProcess]]:
    """Two nodes that run maintenance; the second one's list names a node that there is not."""
    configs = {}
    for node, stores in ((1, "[1, 2]"), (2, "[1, 2, 9]")):
        configs[node] = tmp_path / f"node{node}.toml"
        configs[node].write_text(SETTINGS.format(node=node, stores=stores, folder=tmp_path, dsn=postgres_dsn))
    async with running_service("posthorn_maintenance", configs[1]) as first:
        await first.logged(lambda line: line["event"] == "ready")
        async with running_service("posthorn_maintenance", configs[2]) as second:
            await second.logged(lambda line: line["event"] == "ready")
            yield {1: first, 2: second}


async def posthorn(folder: Path, *words: str) -> tuple[int, str, str]:
    """A command with the settings of node 1, which say when a process counts as dead."""
    program = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "posthorn_ctl", *words, "--config", str(folder / "node1.toml")),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, problem = await program.communicate()
    assert program.returncode is not None
    return program.returncode, out.decode(), problem.decode()


async def listed(folder: Path) -> dict[str, Any]:
    code, out, problem = await posthorn(folder, "role", "list", "--json")
    assert code == 0, problem
    return {role["key"]: role for role in json.loads(out)["roles"]}


def settled(found: dict[str, Any]) -> bool:
    """Both nodes have said what they may hold, and everything is held."""
    one = found.get("role/purge.accounts/1", {"eligible": []})
    return len(one["eligible"]) == 2 and all(role["node"] for role in found.values())


async def test_roles_are_listed_and_moved(tmp_path: Path, nodes: dict[int, ServiceProcess]) -> None:
    async with asyncio.timeout(90):
        while not settled(found := await listed(tmp_path)):
            continue
    assert found["role/purge.accounts/1"]["eligible"] == [1, 2]
    assert found["role/purge.stores"]["epoch"] >= 1
    assert {"role/dkim.rotate", "role/reports.send"} <= found.keys()
    assert found["role/purge.stores"]["since"] < found["role/purge.stores"]["expires"]
    for role in ("purge.stores", "purge.accounts/1"):
        for node in (2, 1):
            code, out, problem = await posthorn(tmp_path, "role", "move", role, "--to", str(node), "--wait", "60")
            assert code == 0, (out, problem)
            assert f"{role} is held by node {node}" in out
    assert (await listed(tmp_path))["role/purge.stores"]["wished"] == 1
    code, out, _ = await posthorn(tmp_path, "role", "move", "purge.stores", "--anywhere", "--json")
    assert (code, json.loads(out)["wished"]) == (0, None)
    code, _, problem = await posthorn(tmp_path, "role", "move", "purge.stores", "--to", "9")
    assert (code, problem) == (
        2,
        "posthorn: node 9 may not hold purge.stores, or runs no maintenance now; nodes that may: 1, 2\n",
    )
    code, _, problem = await posthorn(tmp_path, "role", "move", "purge.mail", "--to", "1")
    assert code == 2
    assert "the roles are" in problem
    assert (await posthorn(tmp_path, "role", "move", "purge.stores"))[0] == 2
    async with asyncio.timeout(90):  # the newest holder may not have begun yet
        while "moves: begun" not in (out := (await posthorn(tmp_path, "role", "list", "--jobs"))[1]):
            continue
    assert "purge.accounts/1" in out


async def test_wrong_lists_are_told_and_stop_nothing(tmp_path: Path, nodes: dict[int, ServiceProcess]) -> None:
    told = [
        await nodes[2].logged(lambda line, word=word: word in line.get("reason", ""))  # type: ignore[misc]
        for word in ("differs between nodes: [[1, 2]] on node 1; [[1, 2, 9]] on node 2", "names node 9")
    ]
    assert {line["level"] for line in told} == {"warning"}
    code, out, _ = await posthorn(tmp_path, "role", "list")
    assert code == 0
    assert "warning: cluster.roles.purge.stores on node 2 names node 9: not in the cluster" in out
    assert [await process.end() for process in nodes.values()] == [0, 0]


async def test_another_node_with_the_same_id_is_refused_and_disturbs_nobody(
    postgres_dsn: str, nodes: dict[int, ServiceProcess], tmp_path: Path
) -> None:
    config = tmp_path / "again.toml"
    config.write_text(SETTINGS.format(node=1, stores="[1, 2]", folder=tmp_path / "elsewhere", dsn=postgres_dsn))
    async with running_service("posthorn_maintenance", config) as again:
        refused = await again.logged(lambda line: line["event"] == "cannot start")
        assert "node1.example.org" in refused["reason"]
        assert await again.end() == 3
        assert not any(line["event"] == "ready" for line in again.lines)
    assert (await listed(tmp_path)).keys() >= {"role/purge.stores"}
    assert [await process.end() for process in nodes.values()] == [0, 0]
