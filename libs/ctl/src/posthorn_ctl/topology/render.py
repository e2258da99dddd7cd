"""The files of a topology, form by form: which there are and what stands in each. Writing them is the last step."""

import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.topology import compose, front, haproxy, nginx, orchestrators, processes
from posthorn_ctl.topology.groups import groups_of
from posthorn_ctl.topology.topology import Topology
from posthorn_model.cluster import SERVICES

DOCKER_DNS = "127.0.0.11:53"
Files = dict[str, str]
"""Text by path below the topology's folder."""


def rendered(topology: Topology, form: str, place: str) -> Files:
    """The files of one form. `place` is the folder they are for, relative to the project's (files name each other)."""
    return FORMS[form](topology, place)


def write(files: Mapping[str, str], to: Path) -> list[Path]:
    """Write the files below a folder; returns their paths. Raises ClusterError."""
    written = []
    for name, text in files.items():
        path = to / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise ClusterError(f"{path} cannot be written: {error.strerror}", code=2) from None
        written.append(path)
    return written


def _note(topology: Topology, form: str) -> str:
    return f"The topology {topology.name}, rendered by `posthorn topology render` (form {form}): change topology.toml."


def _compose(topology: Topology, place: str) -> Files:
    groups = groups_of(topology)
    absent = [service for service in SERVICES if service not in topology.services]
    tree = compose.override(groups, SERVICES, absent, f"{place}/compose/haproxy.cfg")
    note = _note(topology, "compose")
    use = f"docker compose -f compose.yaml -f {place}/compose/compose.yaml up -d --wait"
    return {
        "compose/compose.yaml": _yaml(tree, note, f"In the project's folder: {use}"),
        "compose/haproxy.cfg": _in_containers(topology, note, ""),
    }


def _swarm(topology: Topology, place: str) -> Files:
    note = _note(topology, "swarm")
    use = f"docker stack deploy -c {place}/swarm/stack.yaml posthorn"
    return {
        "swarm/stack.yaml": _yaml(compose.stack(groups_of(topology), f"{place}/swarm"), note, use),
        "swarm/haproxy.cfg": _in_containers(topology, note, "tasks."),
    }


def _in_containers(topology: Topology, note: str, prefix: str) -> str:
    groups = groups_of(topology)
    return haproxy.configuration(
        front.of_containers(topology, groups, topology.balancer.regions[0], DOCKER_DNS, prefix), note
    )


def _helm(topology: Topology, place: str) -> Files:
    use = f"helm install posthorn deploy/helm/posthorn -f {place}/helm/values.yaml"
    note = _note(topology, "helm-values")
    return {"helm/values.yaml": _yaml(orchestrators.helm_values(topology), note, use)}


def _marathon(topology: Topology, place: str) -> Files:  # noqa: ARG001 (JSON has no place for a note)
    tree = orchestrators.marathon(groups_of(topology), topology.balancer.ports)
    return {"marathon/posthorn.json": json.dumps(tree, indent=2) + "\n"}


def _haproxy(topology: Topology, place: str) -> Files:  # noqa: ARG001 (names no other file)
    return fronts(topology, "haproxy", lambda region: front.of_machines(topology, region))


def _nginx(topology: Topology, place: str) -> Files:  # noqa: ARG001 (names no other file)
    return fronts(topology, "nginx", lambda region: front.of_machines(topology, region))


def fronts(topology: Topology, form: str, made: Callable[[str], front.Front]) -> Files:
    """The configuration of a balancer ("haproxy", "nginx") for each place it stands at; `made` gives its front."""
    configuration, ending = BALANCERS[form]
    note = _note(topology, form)
    return {
        f"{form}/{form}{f'-{region}' if region else ''}{ending}": configuration(made(region), note)
        for region in topology.balancer.regions
    }


def _processes(topology: Topology, place: str) -> Files:  # noqa: ARG001 (names no other file)
    note = _note(topology, "processes")
    found = {f"processes/node-{node.id}.env": processes.environment(topology, node, note) for node in topology.nodes}
    return {f"processes/{processes.UNIT_NAME}": processes.unit(note), **found}


def _yaml(tree: Any, *notes: str) -> str:
    import yaml  # takes a while, and only the commands that render need it

    head = "".join(f"# {note}\n" for note in notes)
    text: str = yaml.safe_dump(tree, sort_keys=False, default_flow_style=False, width=120)
    return head + text


BALANCERS: Mapping[str, tuple[Callable[[front.Front, str], str], str]] = {
    "haproxy": (haproxy.configuration, ".cfg"),
    "nginx": (nginx.configuration, ".conf"),
}
FORMS: Mapping[str, Callable[[Topology, str], Files]] = {
    "compose": _compose,
    "swarm": _swarm,
    "helm-values": _helm,
    "marathon": _marathon,
    "haproxy": _haproxy,
    "nginx": _nginx,
    "processes": _processes,
}


def place_of(to: Path) -> str:
    """How files name the folder they are written to: from the folder this runs in."""
    return os.path.relpath(to)
