"""The Helm values of the ready topologies: the real Helm takes them, and the API knows what comes out."""

from pathlib import Path

import pytest
import yaml
from tests.kubernetes.chart import CHART, run_helm

from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.topology.description import read
from posthorn_testkit.kubernetes import kubeconform
from posthorn_testkit.strict import missing

READY = Path(__file__).resolve().parents[2] / "deploy" / "topologies"


@pytest.mark.parametrize("name", ["unified", "service-specific", "weighted", "paired", "geographic"])
def test_the_chart_makes_a_deployment_of_each_pool(name: str) -> None:
    values = READY / name / "helm" / "values.yaml"
    code, said = run_helm("template", "mail", str(CHART), "--values", str(values))
    assert code == 0, said
    try:
        assert kubeconform(said) == []
    except PartError as error:
        missing(str(error))
    made = [each for each in yaml.safe_load_all(said) if each and each["kind"] == "Deployment"]
    services = sorted(
        tuple(sorted(container["name"] for container in each["spec"]["template"]["spec"]["containers"]))
        for each in made
    )
    assert services == sorted(tuple(sorted(pool.services)) for pool in read(READY / name / "topology.toml").pools)
