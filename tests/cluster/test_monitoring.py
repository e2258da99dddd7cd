"""What rules, dashboard and documents name is what the processes show, and a real Prometheus can use it."""

import json
import re
import urllib.request
from pathlib import Path

import pytest
from tests.monitoring.names import CONFIG, RULES, exposed, of_dashboard, of_rules, recorded

from posthorn_ctl.embedded.errors import PartError
from posthorn_model.cluster import SERVICES
from posthorn_testkit.cluster import ClusterUnderTest, until
from posthorn_testkit.prometheus import Prometheus, running_node_exporter, running_prometheus
from posthorn_testkit.strict import missing

pytestmark = [pytest.mark.cluster, pytest.mark.postgres, pytest.mark.kafka, pytest.mark.timeout(300)]
OPERATING = Path(__file__).parents[2] / "docs" / "operating.md"
MADE_BY_PROMETHEUS = {"up"}


def scraped(url: str) -> set[str]:
    with urllib.request.urlopen(url, timeout=10) as answer:
        return exposed(answer.read().decode())


def vitals(cluster: ClusterUnderTest) -> dict[str, list[str]]:
    """host:port of the metrics of each service's processes."""
    found: dict[str, list[str]] = {}
    for each in cluster.description["endpoints"]:
        if each["protocol"] == "metrics":
            found.setdefault(each["service"], []).append(f"{each['host']}:{each['port']}")
    return found


def test_every_metric_that_is_named_exists(kafka_cluster: ClusterUnderTest, tmp_path: Path) -> None:
    shown: set[str] = set()
    for addresses in vitals(kafka_cluster).values():
        shown |= scraped(f"http://{addresses[0]}/metrics")
    try:
        with running_node_exporter(tmp_path) as url:
            machine = scraped(url)
    except PartError as error:
        missing(str(error))
    known = shown | machine | MADE_BY_PROMETHEUS | recorded()
    assert of_rules() - known == set()
    assert of_dashboard() - known == set()
    documented = set(re.findall(r"^\| (.*?) \|", OPERATING.read_text(), re.MULTILINE))
    names = {name for cell in documented for name in re.findall(r"`(posthorn_\w+)`", cell)}
    assert len(names) > 30
    assert {name for name in names if not {name, f"{name}_bucket", f"{name}_total"} & shown} == set()


def test_prometheus_reads_every_process_and_misses_nothing(kafka_cluster: ClusterUnderTest, tmp_path: Path) -> None:
    config = tmp_path / "prometheus.yml"
    config.write_text(CONFIG.read_text().replace("_interval: 15s", "_interval: 1s"))
    (tmp_path / "rules.yml").write_text(RULES.read_text())
    (tmp_path / "targets").mkdir()
    targets = [
        {"targets": addresses, "labels": {"component": service}} for service, addresses in vitals(kafka_cluster).items()
    ]
    (tmp_path / "targets" / "posthorn-cluster.json").write_text(json.dumps(targets))
    try:
        with running_prometheus(config) as server:
            judge(server, sum(len(each["targets"]) for each in targets))
    except PartError as error:
        missing(str(error))


def judge(server: Prometheus, processes: int) -> None:
    def up() -> int:
        return len(server.ask("query", query='up{job="posthorn"} == 1')["result"])

    def states() -> dict[str, str]:
        groups = server.ask("rules")["groups"]
        return {rule["name"]: rule.get("state", "") for group in groups for rule in group["rules"]}

    def evaluated() -> bool:
        groups = server.ask("rules")["groups"]
        return all(rule["health"] == "ok" for group in groups for rule in group["rules"])

    until("every process is read", lambda: up() == processes)
    until("every rule was evaluated", evaluated)
    until(
        "nothing is missing",
        lambda: all(
            states()[name] == "inactive"
            for name in ("PosthornServiceMissing", "PosthornRoleWithoutHolder", "PosthornBusNotConnected")
        ),
    )

    def busy() -> set[str]:
        found = server.ask("query", query="posthorn:cpu:ratio5m")["result"]
        return {each["metric"]["component"] for each in found}

    until("the use of the processor is known of each service", lambda: busy() == set(SERVICES))
