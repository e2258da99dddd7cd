"""Which node runs what, and at which ports."""

import json
import socket
from pathlib import Path

import pytest

from posthorn_ctl.cluster.change import change
from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.cluster.folder import made
from posthorn_ctl.cluster.layout import laid_out, numbered, services_of_nodes
from posthorn_ctl.embedded import ports
from posthorn_ctl.topology.topology import Node
from posthorn_model.cluster import SERVICES


def test_every_node_runs_everything() -> None:
    assert services_of_nodes(3, {}, SERVICES) == [SERVICES] * 3


def test_a_scaled_service_gets_nodes_of_its_own() -> None:
    found = services_of_nodes(1, {"imap": 4, "jmap": 2}, SERVICES)
    assert found == [SERVICES, ("imap",), ("imap",), ("imap",), ("jmap",)]


def test_a_service_scaled_down_runs_on_the_first_nodes() -> None:
    found = services_of_nodes(3, {"smtp-in": 1, "dav": 0}, ("smtp-in", "imap", "dav"))
    assert found == [("smtp-in", "imap"), ("imap",), ("imap",)]


@pytest.mark.parametrize(
    ("scale", "services"), [({"pop": 1}, SERVICES), ({}, ("imap", "nope")), ({"imap": 0}, ("imap",))]
)
def test_what_cannot_be_laid_out_is_refused(scale: dict[str, int], services: tuple[str, ...]) -> None:
    with pytest.raises(ClusterError):
        services_of_nodes(1, scale, services)


def test_chosen_ports_are_free_different_and_kept(tmp_path: Path) -> None:
    folder = made(tmp_path)
    first = laid_out(folder, numbered([SERVICES, ("imap",)]), None)
    chosen = [endpoint.port for node in first.nodes for endpoint in node.endpoints] + list(first.parts.values())
    assert len(set(chosen)) == len(chosen)
    assert all(ports.is_free(port) for port in chosen)
    assert laid_out(folder, numbered([SERVICES, ("imap",)]), None) == first
    # A node that is added changes nothing for those that are there.
    assert laid_out(folder, numbered([SERVICES, ("imap",), ("jmap",)]), None).nodes[:2] == first.nodes


def test_a_kept_port_that_was_taken_is_replaced(tmp_path: Path) -> None:
    folder = made(tmp_path)
    first = laid_out(folder, numbered([("imap",)]), None)
    endpoint = first.nodes[0].endpoints[0]
    with socket.create_server(("127.0.0.1", endpoint.port)):
        second = laid_out(folder, numbered([("imap",)]), None)
    assert second.nodes[0].endpoints[0].port != endpoint.port
    assert second.nodes[0].endpoints[1:] == first.nodes[0].endpoints[1:]
    assert json.loads(folder.ports.read_text())["1/imap"] == second.nodes[0].endpoints[0].port


def test_fixed_ports_that_are_taken_are_all_named(tmp_path: Path) -> None:
    base = next(base for base in range(20000, 30000, 100) if all(ports.is_free(base + n) for n in range(60)))
    plan = laid_out(made(tmp_path), numbered([SERVICES]), base)
    smtp = next(e for e in plan.nodes[0].endpoints if e.protocol == "smtp")
    api = next(e for e in plan.nodes[0].endpoints if e.protocol == "api")
    assert smtp.port == base + 20
    with (
        socket.create_server(("127.0.0.1", smtp.port)),
        socket.create_server(("127.0.0.1", api.port)),
        pytest.raises(ClusterError) as refusal,
    ):
        laid_out(made(tmp_path), numbered([SERVICES]), base)
    assert f"{smtp.port} (smtp of node 1)" in str(refusal.value)
    assert f"{api.port} (api of node 1)" in str(refusal.value)


def test_scripts_are_taken_where_mailboxes_are_and_no_port_moves_for_it(tmp_path: Path) -> None:
    base = next(base for base in range(20000, 30000, 100) if all(ports.is_free(base + n) for n in range(60)))
    plan = laid_out(made(tmp_path), numbered([SERVICES]), base)
    found = {e.protocol: e for e in plan.nodes[0].endpoints if e.service == "imap"}
    assert found["pop3"].port == base + 26
    assert found["managesieve"].port == base + 36
    assert (found["managesieve"].tls, found["managesieve"].url) == ("starttls", f"sieve://127.0.0.1:{base + 36}")


@pytest.mark.parametrize("base", [0, 65530])
def test_ports_beyond_the_range_are_refused(tmp_path: Path, base: int) -> None:
    with pytest.raises(ClusterError, match="--ports"):
        laid_out(made(tmp_path), numbered([SERVICES]), base)


def test_what_runs_keeps_its_ports_though_they_are_taken(tmp_path: Path) -> None:
    folder = made(tmp_path)
    first = laid_out(folder, [Node(7, ("imap",), "north")], None)
    endpoint = first.nodes[0].endpoints[0]
    with socket.create_server(("127.0.0.1", endpoint.port)):
        second = laid_out(folder, [Node(7, ("imap", "jmap"), "north")], None, running=first)
    assert second.nodes[0].endpoints[0] == endpoint
    assert second.parts == first.parts


def test_a_change_starts_what_is_missing_and_stops_what_is_too_much(tmp_path: Path) -> None:
    old = laid_out(made(tmp_path), [Node(1, ("imap", "jmap"), "a"), Node(2, ("dav",), "a")], None)
    new = laid_out(made(tmp_path), [Node(1, ("imap", "dav"), "a"), Node(2, ("dav",), "b")], None)
    found = change(old, new)
    assert (found.start, found.again, found.stop) == (((1, "dav"),), ((2, "dav"),), ((1, "jmap"),))
    assert change(new, old).start == ((1, "jmap"),)
    assert change(old, old) == change(new, new)


def test_a_local_cluster_has_its_limit(tmp_path: Path) -> None:
    with pytest.raises(ClusterError, match="201 nodes"):
        laid_out(made(tmp_path), numbered([("imap",)] * 201), None)
