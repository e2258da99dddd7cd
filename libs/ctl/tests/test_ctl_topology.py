"""topology.toml: what it describes, its mistakes, and the comparison with what runs."""

import datetime
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.topology import front
from posthorn_ctl.topology.comparison import by_count, by_node
from posthorn_ctl.topology.description import read
from posthorn_ctl.topology.groups import groups_of
from posthorn_ctl.topology.topology import Topology
from posthorn_model.cluster import Process
from posthorn_model.ids import NodeId

READY = Path(__file__).resolve().parents[3] / "deploy" / "topologies"


def described(tmp_path: Path, text: str) -> Topology:
    path = tmp_path / "topology.toml"
    path.write_text(text)
    return read(path)


MAIL = ("smtp-in", "smtp-out")
SEED = {
    "unified": [("imap", "jmap", "dav", *MAIL)] * 10,
    "service-specific": [("imap",)] * 2 + [("jmap",)] * 2 + [("dav",)] * 2 + [("smtp-in",)] * 2 + [("smtp-out",)] * 2,
    "weighted": [("imap",)] * 4 + [("jmap", "dav")] * 2 + [MAIL] * 4,
    "paired": [("imap", "jmap")] * 4 + [("dav",)] * 2 + [MAIL] * 4,
    "geographic": [
        ("imap",),
        ("smtp-in",),
        ("smtp-in",),
        ("imap", "jmap"),
        ("smtp-out",),
        ("smtp-out",),
        ("dav",),
        ("dav",),
        ("jmap",),
        MAIL,
    ],
}
"""What users see of nodes 1 to 10, as the document on topologies has them."""


@pytest.mark.parametrize("name", SEED)
def test_the_ready_topologies_are_those_of_the_seed(name: str) -> None:
    found = read(READY / name / "topology.toml")
    assert found.name == name
    assert [node.id for node in found.nodes] == list(range(1, 11))
    assert [set(node.services) - {"maintenance"} for node in found.nodes] == [set(each) for each in SEED[name]]
    assert "maintenance" in found.services


def test_the_geographic_one_has_three_regions_each_with_what_the_seed_says() -> None:
    found = read(READY / "geographic" / "topology.toml")
    assert [node.region for node in found.nodes] == list("aaabbbcccc")
    assert found.balancer.regions == ("a", "b", "c")


def test_pools_take_the_ids_that_nodes_leave(tmp_path: Path) -> None:
    found = described(
        tmp_path,
        """
        name = "mixed"
        node = [{id = 2, services = ["dav", "jmap"], region = "x", host = "10.0.0.2"}]
        pool = [
            {name = "p", services = ["imap"], replicas = 2, hosts = ["one", "two"], weight = 3},
            {name = "q", services = ["imap"], replicas = 1},
        ]
        """,
    )
    assert [(node.id, node.pool, node.address) for node in found.nodes] == [
        (1, "p", "one"),
        (2, "", "10.0.0.2"),
        (3, "p", "two"),
        (4, "q", "node4"),
    ]
    assert [(pool.name, len(pool.nodes)) for pool in found.pools] == [("p", 2), ("x-jmap-dav", 1), ("q", 1)]
    assert [(group.name, group.replicas) for group in groups_of(found)] == [
        ("imap", 2),
        ("imap-weight1", 1),
        ("jmap", 1),
        ("dav", 1),
    ]


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "name: is missing"),
        ('name = "A"', "name: "),
        ('name = "a"', "0 nodes: describe 1 to 10000"),
        ('name = "a"\n[[pool]]\nname = "p"\nreplicas = 0\nservices = ["imap"]', ":4: pool[0].replicas: "),
        ('name = "a"\n[[pool]]\nname = "p"\nreplicas = 1\nservices = ["imab"]', ":5: pool[0].services[0]: "),
        ('name = "a"\n[[pool]]\nname = "p"\nreplicas = 1\nservices = ["imab"]', 'did you mean "imap"?'),
        ('name = "a"\n[[pool]]\nname = "p"\nreplicas = 1\nservices = ["imap", "imap"]', "names a service twice"),
        ('name = "a"\n[[pool]]\nname = "p"\nreplica = 1\nservices = ["imap"]', "pool[0].replica: is not a known key"),
        ('name = "a"\n[[node]]\nid = 0\nservices = ["imap"]', ":3: node[0].id: "),
        ('name = "a"\nnode = [{id = 1, services = ["imap"]}, {id = 1, services = ["jmap"]}]', "1 is there twice"),
        ('name = "a"\nnode = [{id = 1, services = ["imap"], host = "a b"}]', "node[0].host: "),
        ('name = "a"\nbalancer.regions = ["x"]\nnode = [{id = 1, services = ["imap"]}]', "where no node is"),
        ('name = "a"\nbalancer.certificate = "x;y"\nnode = [{id = 1, services = ["imap"]}]', "balancer.certificate: "),
        (
            'name = "a"\npool = [{name = "p", replicas = 2, services = ["imap"], hosts = ["x"]}]',
            "1 hosts for 2 replicas",
        ),
        ('name = "a\n', "is not TOML"),
    ],
)
def test_a_mistake_is_told_with_its_place(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(ClusterError) as refusal:
        described(tmp_path, text)
    assert refusal.value.code == 2
    assert told in str(refusal.value)


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match=r"topology\.toml: cannot be read: No such file"):
        read(tmp_path / "topology.toml")


def test_a_balancer_prefers_its_region_and_knows_no_backup_where_nothing_is_near() -> None:
    found = read(READY / "geographic" / "topology.toml")
    at_a = front.of_machines(found, "a")
    assert [(s.name, s.backup) for s in at_a.backends["imap"]] == [("node1", False), ("node4", True)]
    assert [(s.name, s.backup) for s in at_a.backends["jmap"]] == [("node4", False), ("node9", False)]
    assert not any(s.backup for servers in front.of_machines(found, "").backends.values() for s in servers)


def test_several_services_of_a_machine_answer_for_their_health_at_ports_of_their_own() -> None:
    found = front.of_machines(read(READY / "unified" / "topology.toml"), "")
    ports = {servers[0].health_port for servers in found.backends.values()}
    assert len(ports) == len({*front.MAIL.values(), *front.WEB.values()})


NOW = datetime.datetime(2026, 1, 1, tzinfo=datetime.UTC)


def processes(topology: Topology) -> list[Process]:
    return [
        Process(NodeId(node.id), name, f"{node.id}{name}", "h", node.region, "ready", {}, 0.0, NOW, NOW, live=True)
        for node in topology.nodes
        for name in node.services
    ]


def told(found: Sequence[object]) -> list[str]:
    return [str(each) for each in found]


def test_what_runs_as_described_differs_in_nothing() -> None:
    for name in SEED:
        topology = read(READY / name / "topology.toml")
        running = processes(topology)
        assert not by_node(topology, [*running, running[0]])
        assert not by_count(topology, running)


def test_each_difference_is_told() -> None:
    topology = read(READY / "geographic" / "topology.toml")
    dead, draining, moved, *rest = processes(topology)
    stranger = replace(moved, node=NodeId(77), boot="s")
    gone = replace(stranger, node=NodeId(78), state="draining")
    running = [
        replace(dead, live=False),
        replace(draining, state="draining"),
        replace(moved, region="z"),
        *rest,
        stranger,
        gone,
    ]
    assert told(by_node(topology, running)) == [
        "node 1: imap does not run",
        "node 1: maintenance is leaving",
        "node 2: smtp-in runs in region z, described is a",
        "node 77: smtp-in runs and is not described",
    ]


def test_containers_are_counted_whatever_their_ids() -> None:
    topology = read(READY / "geographic" / "topology.toml")
    leased = [replace(each, node=NodeId(100 + n)) for n, each in enumerate(processes(topology))]
    assert not by_count(topology, leased)
    assert told(by_count(topology, [*leased[1:], replace(leased[-1], region="z")])) == [
        "1 of imap in region a does not run",
        "1 of smtp-out in region z runs and is not described",
    ]
