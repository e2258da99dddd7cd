"""The files made of topologies: never stale in deploy/, and taken by the programs that they are for."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml

from posthorn_ctl.topology import front, haproxy, nginx, render
from posthorn_ctl.topology.description import read
from posthorn_model.cluster import SERVICES
from posthorn_node.settings import NodeSettings, parse, validate
from posthorn_testkit.strict import missing

ROOT = Path(__file__).resolve().parents[3]
NAMES = ("unified", "service-specific", "weighted", "paired", "geographic")
CASES = [(name, form) for name in NAMES for form in render.FORMS]


def folder(name: str) -> Path:
    return ROOT / "deploy" / "topologies" / name


def files(name: str, form: str) -> render.Files:
    return render.rendered(read(folder(name) / "topology.toml"), form, f"deploy/topologies/{name}")


@pytest.mark.parametrize(("name", "form"), CASES)
def test_the_files_in_deploy_are_what_is_rendered_today(name: str, form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    for path, text in files(name, form).items():
        assert (folder(name) / path).read_text() == text, f"posthorn topology render deploy/topologies/{name}"


@pytest.mark.parametrize("name", NAMES)
def test_no_file_is_left_of_an_earlier_description(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    known = {path for form in render.FORMS for path in files(name, form)} | {"topology.toml"}
    assert {str(path.relative_to(folder(name))) for path in folder(name).rglob("*") if path.is_file()} == known


def at_home(text: str) -> str:
    """The text with this machine for every node: programs look names up at once, and these are nobody's."""
    return re.sub(r"(server .*)node\d+:", r"\g<1>127.0.0.1:", text)


@pytest.mark.parametrize("name", NAMES)
def test_haproxy_takes_its_files(name: str, tmp_path: Path) -> None:
    program = shutil.which("haproxy") or missing("no haproxy (Debian: apt-get install haproxy)")
    for form in ("haproxy", "compose", "swarm"):
        for path in (folder(name) / form).glob("*.cfg"):
            local = tmp_path / f"{form}-{path.name}"
            local.write_text(at_home(path.read_text()))
            done = subprocess.run([program, "-c", "-f", str(local)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("name", NAMES)
def test_nginx_takes_its_files(name: str, tmp_path: Path) -> None:
    program = shutil.which("nginx") or missing("no nginx (Debian: apt-get install nginx-light libnginx-mod-stream)")
    for path in (folder(name) / "nginx").glob("*.conf"):
        local = tmp_path / path.name
        local.write_text(f"pid {tmp_path}/nginx.pid;\n" + at_home(path.read_text()))
        command = [program, "-t", "-c", str(local)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def test_tls_of_http_ends_at_a_balancer_with_a_certificate(tmp_path: Path) -> None:
    pem = tmp_path / "front.pem"
    certificate = ["req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "1", "-subj", "/CN=mail.example.org"]
    subprocess.run(
        ["openssl", *certificate, "-keyout", "key.pem", "-out", "cert.pem"],
        cwd=tmp_path,
        check=True,
        capture_output=True,
    )
    pem.write_text((tmp_path / "cert.pem").read_text() + (tmp_path / "key.pem").read_text())
    description = tmp_path / "topology.toml"
    description.write_text(
        f'name = "tls"\nbalancer.certificate = "{pem}"\n'
        'node = [{id = 1, services = ["jmap", "imap"], host = "127.0.0.1"}]\n'
    )
    one = front.of_machines(read(description), "")
    for program, configuration, arguments in [
        ("haproxy", haproxy.configuration, ["-c", "-f"]),
        ("nginx", nginx.configuration, ["-t", "-c"]),
    ]:
        text = configuration(one, "made by a test")
        assert "ssl" in text
        assert "2993" in text
        if shutil.which(program) is None:
            missing(f"no {program} (Debian: apt-get install {program})")
        path = tmp_path / f"{program}.cfg"
        path.write_text(f"pid {tmp_path}/nginx.pid;\n" * (program == "nginx") + text)
        done = subprocess.run([program, *arguments, str(path)], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr


def wanted_counts(name: str) -> dict[tuple[str, str], int]:
    counts: dict[tuple[str, str], int] = {}
    for node in read(folder(name) / "topology.toml").nodes:
        for service in node.services:
            counts[service, node.region] = counts.get((service, node.region), 0) + 1
    return counts


def region_of(environment: dict[str, str]) -> str:
    return environment.get("POSTHORN__CLUSTER__REGION", "")


@pytest.mark.parametrize("name", NAMES)
def test_every_form_has_as_many_of_each_service_in_each_region(name: str) -> None:
    wanted = wanted_counts(name)
    found: dict[str, dict[tuple[str, str], int]] = {form: {} for form in ("compose", "swarm", "marathon", "helm")}

    def add(form: str, service: str, region: str, count: int) -> None:
        found[form][service, region] = found[form].get((service, region), 0) + count

    override = yaml.safe_load((folder(name) / "compose/compose.yaml").read_text())["services"]
    for key, entry in override.items():
        service = entry.get("extends", {}).get("service", key)
        if service in SERVICES:
            add("compose", service, region_of(entry.get("environment", {})), entry["deploy"]["replicas"])
    for entry in yaml.safe_load((folder(name) / "swarm/stack.yaml").read_text())["services"].values():
        service = entry["image"].partition("/")[2].partition(":")[0]
        if entry["image"].startswith("${REGISTRY") and "mode" not in entry["deploy"]:
            add("swarm", service, region_of(entry["environment"]), entry["deploy"]["replicas"])
    for entry in json.loads((folder(name) / "marathon/posthorn.json").read_text())["apps"]:
        service = entry["container"]["docker"]["image"].partition("/")[2]
        add("marathon", service, region_of(entry["env"]), entry["instances"])
    for pool in yaml.safe_load((folder(name) / "helm/values.yaml").read_text())["pools"]:
        for service in pool["services"]:
            add("helm", service, pool.get("region", ""), pool["replicas"])
    for form, counts in found.items():
        assert {key: count for key, count in counts.items() if count} == wanted, form


@pytest.mark.parametrize("name", NAMES)
def test_a_nodes_environment_gives_its_settings(name: str) -> None:
    topology = read(folder(name) / "topology.toml")
    node = topology.nodes[-1]
    text = (folder(name) / f"processes/node-{node.id}.env").read_text()
    environment = dict(line.split("=", 1) for line in text.splitlines() if not line.startswith("#"))
    assert environment.pop("SERVICES").split(",") == list(node.services)
    base = (ROOT / "deploy/compose/node.toml").read_bytes()
    secrets = dict.fromkeys(re.findall(r"%\{env:(\w+)\}%", base.decode()), "x" * 32)
    secrets |= {"PUBLIC_URL": "https://mail.example.org", "MAIL_HOSTNAME": "mail.example.org"}
    settings: NodeSettings = validate(parse(base, Path("node.toml"), secrets | environment), {"": NodeSettings})[""]
    assert (settings.cluster.node_id, settings.cluster.region) == (node.id, node.region)
    assert {service: settings.metrics.bind_for(service) for service in node.services} == {
        service: f"0.0.0.0:{topology.ports.health(service)}" for service in node.services
    }


def test_ports_of_containers_are_those_of_their_settings() -> None:
    listeners = tomllib.loads((ROOT / "deploy/compose/node.toml").read_text())["server"]["listener"]
    ports = {name: int(each["bind"].rpartition(":")[2]) for name, each in listeners.items()}
    assert {name: port for name, port in front.CONTAINER_PORTS.items() if name in ports} == {
        name: port for name, port in ports.items() if name in front.CONTAINER_PORTS
    }


MARATHON = {
    "id": str,
    "instances": int,
    "cpus": float,
    "mem": int,
    "networks": list,
    "container": dict,
    "env": dict,
    "labels": dict,
    "constraints": list,
    "healthChecks": list,
    "upgradeStrategy": dict,
    "taskKillGracePeriodSeconds": int,
}
"""Fields of an application of Marathon's API, version 2, and their kinds, as its documentation has them."""


@pytest.mark.parametrize("name", NAMES)
def test_applications_of_marathon_have_the_fields_of_its_api(name: str) -> None:
    group = json.loads((folder(name) / "marathon/posthorn.json").read_text())
    assert re.fullmatch(r"/[a-z0-9-]+", group["id"])
    identities = [application["id"] for application in group["apps"]]
    assert len(set(identities)) == len(identities)
    for application in group["apps"]:
        assert {key: type(value) for key, value in application.items()} == MARATHON
        assert re.fullmatch(r"/posthorn/[a-z0-9-]{1,60}", application["id"])
        assert all(isinstance(value, str) for value in {**application["env"], **application["labels"]}.values())
        ports = application["container"]["portMappings"]
        assert ports[application["healthChecks"][0]["portIndex"]]["name"] == "health"
        assert len({port["name"] for port in ports}) == len(ports)


@pytest.mark.parametrize("name", NAMES)
def test_docker_takes_the_stack_and_the_override(name: str) -> None:
    docker = shutil.which("docker")
    if docker is None:
        pytest.skip("no docker command here")
    secrets = ("POSTGRES_PASSWORD", "S3_ACCESS_KEY", "S3_SECRET_KEY", "CLUSTER_SECRET", "API_TOKEN")
    environment = dict.fromkeys((*secrets, "MAIL_HOSTNAME", "PUBLIC_URL"), "x") | {"PATH": "/usr/bin:/bin"}
    for command in (
        ["stack", "config", "-c", f"deploy/topologies/{name}/swarm/stack.yaml"],
        ["compose", "-f", "compose.yaml", "-f", f"deploy/topologies/{name}/compose/compose.yaml", "config", "-q"],
    ):
        known = subprocess.run([docker, *command[:2], "--help"], capture_output=True, check=False)
        if known.returncode == 0:
            done = subprocess.run(
                [docker, *command], cwd=ROOT, env=environment, capture_output=True, text=True, check=False
            )
            assert done.returncode == 0, done.stderr


def test_memory_and_processors_are_reserved_and_limited_only_on_request() -> None:
    base = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    stack = yaml.safe_load((folder("unified") / "swarm/stack.yaml").read_text())["services"]
    for services in (base, stack):
        for service in SERVICES:
            resources = services[service]["deploy"]["resources"]
            assert resources["limits"] == {"cpus": "${CPU_LIMIT:-0}", "memory": "${MEMORY_LIMIT:-0}"}
            assert resources["reservations"] == {
                "cpus": "${CPU_RESERVATION:-0.10}",
                "memory": "${MEMORY_RESERVATION:-128M}",
            }
