"""Every object of the chart is taken by a real API server, which checks names, ports and references as a cluster does.

Runs with `make kubernetes-test`.
"""

import copy
import os
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.kubernetes.values import CASES

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.kubernetes_api import ApiServer, api_server
from posthorn_testkit.strict import missing

pytestmark = [
    pytest.mark.skipif(not os.environ.get("POSTHORN_TEST_KUBERNETES"), reason="make kubernetes-test asks for it"),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def server() -> Iterator[ApiServer]:
    """The API server of these tests."""
    try:
        with api_server() as found:
            yield found
    except PartError as error:
        missing(str(error))


@pytest.mark.parametrize("name", CASES)
def test_every_object_is_taken(name: str, server: ApiServer, objects: Callable[..., list[dict[str, Any]]]) -> None:
    found = [copy.deepcopy(each) for each in objects(CASES[name])]
    assert len(found) > 5
    assert [said for each in found if (said := server.refusal(each))] == []


def test_what_schemas_do_not_see_is_refused(server: ApiServer, objects: Callable[..., list[dict[str, Any]]]) -> None:
    deployment = next(each for each in objects({}) if each["kind"] == "Deployment")
    deployment["spec"]["selector"]["matchLabels"]["app.kubernetes.io/component"] = "other"
    assert "selector" in server.refusal(deployment)
    deployment = next(each for each in objects({}) if each["kind"] == "Deployment")
    deployment["spec"]["template"]["spec"]["containers"][0]["volumeMounts"][0]["name"] = "elsewhere"
    assert "elsewhere" in server.refusal(deployment)
