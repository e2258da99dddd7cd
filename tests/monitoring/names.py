"""The metrics that rules and dashboards name, and those that a text of Prometheus's form has."""

import json
import re
from pathlib import Path
from typing import Any

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
RULES = DEPLOY / "prometheus" / "rules.yml"
CONFIG = DEPLOY / "prometheus" / "prometheus.yml"
DASHBOARD = DEPLOY / "grafana" / "posthorn.json"

_METRIC = re.compile(r"\b(?:posthorn|process|node|python)_\w+|\bposthorn:[\w:]+|\bup\b")
_QUOTED = re.compile(r'"[^"]*"')
_PARTS = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("", "_sum", "_count")}


def rules() -> list[dict[str, Any]]:
    """All rules of the file."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def recorded() -> set[str]:
    """The names that rules make."""
    return {rule["record"] for rule in rules() if "record" in rule}


def of_rules() -> set[str]:
    """The names in the rules."""
    return {name for rule in rules() for name in named(rule["expr"])}


def of_dashboard() -> set[str]:
    """The names in the dashboard."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    return {name for panel in panels for target in panel.get("targets", ()) for name in named(target["expr"])}


def named(expression: str) -> set[str]:
    """The metrics in an expression."""
    return set(_METRIC.findall(_QUOTED.sub('""', expression)))


def exposed(text: str) -> set[str]:
    """The metrics that a process shows, those without a value too."""
    found = set()
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split()
            found |= {name + part for part in _PARTS.get(kind, ("",))}
    return found
