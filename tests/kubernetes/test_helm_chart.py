"""The Helm chart: what it renders is what the API knows, fits the services, and wrong values are refused."""

import base64
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.kubernetes.chart import CHART, run_helm
from tests.kubernetes.values import ALL, CASES, EVERYTHING, READY, TOPOLOGIES, WRONG

from posthorn_ctl.embedded.errors import PartError
from posthorn_dav.settings import DavSettings
from posthorn_imap.settings import ImapSettings
from posthorn_jmap.settings import JmapSettings
from posthorn_maintenance.settings import MaintenanceSettings
from posthorn_node.settings import NodeSettings, parse, parse_bind, validate
from posthorn_smtp_in.settings import SmtpInSettings
from posthorn_smtp_out.settings import SmtpOutSettings
from posthorn_testkit.kubernetes import kubeconform
from posthorn_testkit.strict import missing

Object = dict[str, Any]
Objects = Callable[..., list[Object]]
SERVICES = {
    "smtp-in": SmtpInSettings,
    "smtp-out": SmtpOutSettings,
    "imap": ImapSettings,
    "jmap": JmapSettings,
    "dav": DavSettings,
    "maintenance": MaintenanceSettings,
}


def of_kind(objects: list[Object], kind: str) -> dict[str, Object]:
    return {found["metadata"]["name"]: found for found in objects if found["kind"] == kind}


@pytest.mark.parametrize("name", CASES)
def test_what_is_rendered_is_what_the_api_knows(name: str, rendered: Callable[..., str]) -> None:
    try:
        wrong = kubeconform(rendered(CASES[name]))
    except PartError as error:
        missing(str(error))
    assert wrong == []


def test_each_ready_topology_is_among_the_cases() -> None:
    names = {folder.parent.name for folder in (CHART.parents[1] / "topologies").glob("*/topology.toml")}
    assert len(names) == 5
    assert {f"deploy/{name}" for name in names} == set(READY)


def test_a_wrong_object_is_seen(rendered: Callable[..., str]) -> None:
    text = rendered({}).replace("maxUnavailable: 0", "maxUnavailble: 0", 1).replace("kind: Job", "kind: Jobs")
    try:
        wrong = kubeconform(text)
    except PartError as error:
        missing(str(error))
    assert sorted(found["kind"] for found in wrong) == ["Deployment", "Jobs"]


@pytest.mark.parametrize("name", ["by-service", "everything"])
def test_helm_finds_nothing_to_say_against_it(name: str, tmp_path: Path) -> None:
    (tmp_path / "values.json").write_text(json.dumps(CASES[name]))
    code, said = run_helm("lint", "--strict", str(CHART), "--values", str(tmp_path / "values.json"))
    assert code == 0, said


@pytest.mark.parametrize("name", WRONG)
def test_wrong_values_are_refused_with_the_reason(name: str, tmp_path: Path) -> None:
    values, reason = WRONG[name]
    (tmp_path / "values.json").write_text(json.dumps(values))
    code, said = run_helm("template", "mail", str(CHART), "--values", str(tmp_path / "values.json"))
    assert code != 0
    assert reason in said


@pytest.mark.parametrize("name", CASES)
def test_every_container_can_start_with_its_settings(name: str, objects: Objects) -> None:
    found = objects(CASES[name])
    raw = of_kind(found, "ConfigMap")["mail-posthorn"]["data"]["node.toml"].encode()
    for pod in of_kind(found, "Deployment").values():
        for container in pod["spec"]["template"]["spec"]["containers"]:
            given = [each["name"] for each in container["env"]]
            assert len(given) == len(set(given))
            environ = {each["name"]: each.get("value", "10.1.2.3") for each in container["env"]}
            models = {"": NodeSettings, container["name"]: SERVICES[container["name"]]}
            settings: NodeSettings = validate(parse(raw, Path("node.toml"), environ), models)[""]
            port = parse_bind(settings.metrics.bind_for(container["name"]))[1]
            for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
                assert container[probe]["httpGet"]["port"] == port
            grace = pod["spec"]["template"]["spec"]["terminationGracePeriodSeconds"]
            assert grace > settings.server.end_limit


def test_what_a_pool_says_is_what_its_nodes_use(objects: Objects) -> None:
    found = objects(EVERYTHING)
    raw = of_kind(found, "ConfigMap")["mail-posthorn"]["data"]["node.toml"].encode()
    pod = of_kind(found, "Deployment")["mail-posthorn-node-eu"]["spec"]["template"]["spec"]
    container = next(each for each in pod["containers"] if each["name"] == "smtp-out")
    environ = {each["name"]: each.get("value", "10.1.2.3") for each in container["env"]}
    models = {"": NodeSettings, **SERVICES}
    settings = validate(parse(raw, Path("node.toml"), environ), models)
    assert settings["smtp-out"].retry == (60.0, 300.0)
    assert settings["smtp-out"].routes == {"partner.example": "mx"}
    assert settings["smtp-out"].relay == "relay.example.net:587"
    assert settings["imap"].limits.connections == 5000
    assert settings["smtp-in"].allow_long_lines
    assert settings[""].cluster.region == "eu-west"
    assert settings[""].cluster.roles.purge.accounts == ((1, 2), (3, 4))
    assert settings[""].server.drain_limit == 60
    assert settings[""].server.listener["api"].url == "https://api.example.org"
    assert settings[""].server.listener["jmap"].url == "https://mail.example.net"
    assert settings[""].server.listener["imap"].proxy_networks == ("10.0.0.0/8",)
    assert settings[""].storage.blobs.cache.path == Path("/var/cache/posthorn")
    assert pod["nodeSelector"] == {"disk": "ssd", "topology.kubernetes.io/region": "eu-west"}


@pytest.mark.parametrize("name", CASES)
def test_ports_lead_to_containers_that_have_them(name: str, objects: Objects) -> None:
    found = objects(CASES[name])
    pods = [each["spec"]["template"] for each in of_kind(found, "Deployment").values()]
    for service in of_kind(found, "Service").values():
        chosen = [pod for pod in pods if service["spec"]["selector"].items() <= pod["metadata"]["labels"].items()]
        assert chosen, service["metadata"]["name"]
        names = [
            {port["name"] for container in pod["spec"]["containers"] for port in container["ports"]} for pod in chosen
        ]
        for port in service["spec"]["ports"]:
            if service["spec"].get("clusterIP") == "None":
                assert any(port["targetPort"] in each for each in names)
            else:
                assert all(port["targetPort"] in each for each in names)
    for pod in pods:
        ports = [port for container in pod["spec"]["containers"] for port in container["ports"]]
        assert len({port["containerPort"] for port in ports}) == len({port["name"] for port in ports}) == len(ports)


def test_each_service_has_its_own_deployment_and_scales_from_three_to_ten(objects: Objects) -> None:
    found = objects({})
    pods = of_kind(found, "Deployment")
    assert sorted(pods) == sorted(f"mail-posthorn-{service}" for service in ALL)
    assert sorted(of_kind(found, "PodDisruptionBudget")) == sorted(pods)
    scalers = of_kind(found, "HorizontalPodAutoscaler")
    assert sorted(scalers) == sorted(pods)
    spec = scalers["mail-posthorn-imap"]["spec"]
    assert (spec["minReplicas"], spec["maxReplicas"]) == (3, 10)
    targets = {each["resource"]["name"]: each["resource"]["target"]["averageUtilization"] for each in spec["metrics"]}
    assert targets == {"cpu": 70, "memory": 80}
    assert all("replicas" not in each["spec"] for each in pods.values())
    assert all(
        "limits" not in c["resources"] for p in pods.values() for c in p["spec"]["template"]["spec"]["containers"]
    )


def test_weights_become_pods(objects: Objects) -> None:
    values = {**TOPOLOGIES["weighted"], "autoscaling": {"enabled": False}}
    counts = {name: each["spec"]["replicas"] for name, each in of_kind(objects(values), "Deployment").items()}
    assert counts == {"mail-posthorn-imap": 4, "mail-posthorn-smtp": 2, "mail-posthorn-web": 2}


def test_regions_have_balancers_of_their_own(objects: Objects) -> None:
    found = objects(TOPOLOGIES["by-region"])
    services = of_kind(found, "Service")
    assert {name for name in services if "-smtp-" in name or "-imap-" in name} == {
        f"mail-posthorn-{kind}-{region}" for kind in ("smtp", "imap") for region in ("eu-west", "us-east")
    }
    assert services["mail-posthorn-smtp-eu-west"]["spec"]["selector"]["posthorn/region"] == "eu-west"
    assert services["mail-posthorn-smtp-eu-west"]["spec"]["externalTrafficPolicy"] == "Local"


def test_containers_of_a_pod_are_one_node_and_may_do_little(objects: Objects) -> None:
    pod = of_kind(objects(TOPOLOGIES["unified"]), "Deployment")["mail-posthorn-node"]["spec"]["template"]["spec"]
    assert [each["name"] for each in pod["containers"]] == ALL
    assert pod["securityContext"]["runAsNonRoot"]
    for container in pod["containers"]:
        tokens = [each for each in container["env"] if each["name"] == "POSTHORN_NODE_TOKEN"]
        assert [each["valueFrom"]["fieldRef"]["fieldPath"] for each in tokens] == ["metadata.uid"]
        assert container["securityContext"]["readOnlyRootFilesystem"]
        assert container["image"].startswith(f"posthorn/{container['name']}:")


def test_no_secret_is_written_where_it_can_be_read(rendered: Callable[..., str]) -> None:
    for found in yaml.safe_load_all(rendered(EVERYTHING)):
        if found and found["kind"] != "Secret":
            assert not any(f'"{value}"' in json.dumps(found) for value in EVERYTHING["secret"]["values"].values())


def test_a_secret_that_is_made_holds_all_keys_that_are_asked_for(objects: Objects) -> None:
    found = objects(EVERYTHING)
    secret = of_kind(found, "Secret")["mail-posthorn-secrets"]
    held = {key: base64.b64decode(value).decode() for key, value in secret["data"].items()}
    asked = {
        each["valueFrom"]["secretKeyRef"]["key"]
        for pod in of_kind(found, "Deployment").values()
        for container in pod["spec"]["template"]["spec"]["containers"]
        for each in container["env"]
        if "secretKeyRef" in each.get("valueFrom", {})
    }
    assert set(held) == asked
    assert held["db-password"] == "one"
    assert len(held["cluster-secret"]) == len(held["api-token"]) == 40
    assert held["cluster-secret"] != held["api-token"]


def test_what_the_migration_needs_is_there_before_it(objects: Objects) -> None:
    found = objects(EVERYTHING)
    job = of_kind(found, "Job")["mail-posthorn-migrate"]
    pod = job["spec"]["template"]["spec"]
    weight = int(job["metadata"]["annotations"]["helm.sh/hook-weight"])
    needed = [
        of_kind(found, "ConfigMap")[pod["volumes"][0]["configMap"]["name"]],
        of_kind(found, "Secret")["mail-posthorn-secrets"],
    ]
    for each in needed:
        assert each["metadata"]["annotations"]["helm.sh/hook"] == "pre-install,pre-upgrade"
        assert int(each["metadata"]["annotations"]["helm.sh/hook-weight"]) < weight
    assert pod["containers"][0]["command"] == ["posthorn", "migrate"]


def test_the_documents_name_every_value() -> None:
    known = set(yaml.safe_load((CHART / "values.yaml").read_text()))
    schema = json.loads((CHART / "values.schema.json").read_text())
    assert known == set(schema["properties"]) - {"global"}
    text = (CHART.parent / "VALUES.md").read_text()
    assert {name for name in known if f"`{name}" not in text} <= {"podAnnotations", "podLabels", "extra"}
