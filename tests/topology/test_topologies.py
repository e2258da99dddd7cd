"""A cluster from a description, brought to another one while it runs. `make topology-test` starts those of deploy/."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from posthorn_testkit.cluster import ClusterUnderTest, posthorn, running_cluster, until
from posthorn_testkit.programs import folder_of_server

pytestmark = [pytest.mark.cluster, pytest.mark.postgres, pytest.mark.timeout(400)]
HERE = Path(__file__).parent
REGIONS, SERVICES = HERE / "regions.toml", HERE / "services.toml"


@pytest.fixture(scope="module")
def cluster() -> Iterator[ClusterUnderTest]:
    options = ("--topology", str(REGIONS), "--bus", "peer-to-peer")
    with folder_of_server("topology") as folder, running_cluster(folder / "data", *options) as running:
        yield running


def checked(cluster: ClusterUnderTest, description: Path) -> tuple[int, dict[str, Any]]:
    done = posthorn("topology", "check", str(description), "--data", str(cluster.folder), "--json")
    return done.returncode, json.loads(done.stdout)


def shows_all(cluster: ClusterUnderTest) -> None:
    done = posthorn("demo", "--data", str(cluster.folder))
    assert done.returncode == 0, done.stdout + done.stderr


def processes(cluster: ClusterUnderTest) -> dict[tuple[int, str], int]:
    return {(p["node"], p["service"]): p["pid"] for p in cluster.description["processes"] if p["node"]}


def test_a_description_becomes_another_one_while_it_runs(cluster: ClusterUnderTest) -> None:
    assert {(node["id"], node["region"]) for node in cluster.description["nodes"]} == {(1, "north"), (3, "south")}
    assert checked(cluster, REGIONS) == (0, {"topology": "regions", "same": True, "differences": []})
    code, found = checked(cluster, SERVICES)
    assert code == 1
    assert {(d["kind"], d["node"], d["service"]) for d in found["differences"]} == {
        ("missing", 2, "imap"),
        ("missing", 4, "dav"),
        ("missing", 4, "maintenance"),
        ("region", 3, "smtp-out"),
        ("region", 3, "jmap"),
        ("extra", 1, "imap"),
        ("extra", 3, "dav"),
    }
    before = processes(cluster)
    done = posthorn("topology", "apply", str(SERVICES), "--data", str(cluster.folder), "--json")
    assert done.returncode == 0, done.stderr
    assert checked(cluster, SERVICES)[0] == 0
    after = processes(cluster)
    assert after[1, "smtp-in"] == before[1, "smtp-in"], "what is described in both was not touched"
    assert after[3, "jmap"] != before[3, "jmap"], "a process learns its region when it starts"
    assert after.keys() == {(1, "smtp-in"), (2, "imap"), (3, "smtp-out"), (3, "jmap"), (4, "dav"), (4, "maintenance")}
    shows_all(cluster)


def test_what_cannot_be_had_leaves_the_cluster_as_it_was(cluster: ClusterUnderTest, tmp_path: Path) -> None:
    before = processes(cluster)
    wrong = tmp_path / "topology.toml"
    wrong.write_text('name = "wrong"\npool = [{name = "p", services = ["imab"], replicas = 1}]\n')
    done = posthorn("topology", "apply", str(tmp_path), "--data", str(cluster.folder))
    assert done.returncode == 2
    assert 'did you mean "imap"?' in done.stderr
    wrong.write_text('name = "many"\npool = [{name = "p", services = ["imap"], replicas = 300}]\n')
    done = posthorn("topology", "apply", str(tmp_path), "--data", str(cluster.folder))
    assert done.returncode == 1
    assert "stays as it was: 300 nodes: a local cluster has 1 to 200" in done.stderr
    assert processes(cluster) == before
    until("all is ready", cluster.is_ready)
