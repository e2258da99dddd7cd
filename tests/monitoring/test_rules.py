"""Prometheus's files are right in form, each alert fires when it should, and the dashboard asks for what there is."""

import json
from pathlib import Path

import pytest
import yaml
from tests.monitoring.names import CONFIG, DASHBOARD, RULES, named, of_dashboard, recorded, rules

from posthorn_ctl.embedded.errors import PartError
from posthorn_testkit.prometheus import promtool
from posthorn_testkit.strict import missing

CASES = Path(__file__).with_name("rules_test.yml")
UNTRIED = {
    "PosthornConnectionsRefused", "PosthornIndexLate", "MachineProcessorBusy", "MachineDiskFull", "PosthornBusLate",
    "PosthornChangesFoundLate", "PosthornLookupNotAnswering", "PosthornNobodyPurges", "PosthornBlobDamaged",
    "PosthornOwnerStalled", "PosthornBugs",
}  # fmt: skip
"""Alerts of one comparison that no case is written for."""


@pytest.mark.parametrize(
    "arguments", [("check", "config", str(CONFIG)), ("check", "rules", str(RULES)), ("test", "rules", str(CASES))]
)
def test_promtool_finds_nothing_wrong(arguments: tuple[str, ...]) -> None:
    try:
        done = promtool(*arguments)
    except PartError as error:
        missing(str(error))
    assert done.returncode == 0, done.stdout + done.stderr


def test_promtool_sees_what_is_wrong(tmp_path: Path) -> None:
    (tmp_path / "rules.yml").write_text(RULES.read_text().replace("> 0.7\n", "> \n", 1))
    try:
        done = promtool("check", "rules", str(tmp_path / "rules.yml"))
    except PartError as error:
        missing(str(error))
    assert done.returncode != 0


def test_every_alert_says_what_to_do() -> None:
    alerts = [rule for rule in rules() if "alert" in rule]
    assert len({rule["alert"] for rule in alerts}) == len(alerts)
    for rule in alerts:
        assert rule["labels"]["severity"] in ("scale", "warning", "critical")
        assert rule["annotations"]["action"]
        assert rule["annotations"]["summary"]


def test_every_alert_is_tried_but_the_plain_ones() -> None:
    cases = yaml.safe_load(CASES.read_text())["tests"]
    fired = {each["alertname"] for case in cases for each in case["alert_rule_test"] if each["exp_alerts"]}
    silent = {"PosthornReplicaLeftOut", "PosthornCertificateAlmostExpired"}
    alerts = {rule["alert"] for rule in rules() if "alert" in rule}
    assert alerts - fired - silent == UNTRIED


def test_the_dashboard_asks_for_what_is_recorded_and_its_panels_do_not_overlap() -> None:
    board = json.loads(DASHBOARD.read_text())
    assert {name for name in of_dashboard() if ":" in name} <= recorded()
    assert board["templating"]["list"][0]["type"] == "datasource"
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        place = panel["gridPos"]
        cells = {(place["x"] + x, place["y"] + y) for x in range(place["w"]) for y in range(place["h"])}
        assert not cells & taken, panel["title"]
        assert place["x"] + place["w"] <= 24
        taken |= cells
        for target in panel.get("targets", ()):
            assert named(target["expr"])
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
