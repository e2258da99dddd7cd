"""What several processes say of themselves, as one answer: their health, and their metrics. Pure.

A metric keeps its name and gets the label `process`, so that sums over all series are those of the service.
"""

import json
from collections.abc import Mapping
from typing import Any

LABEL = "process"


def merged_metrics(texts: Mapping[str, str]) -> str:
    """Expositions in the text format of Prometheus, by process, as one: each family once, with all its samples."""
    heads: dict[str, list[str]] = {}
    samples: dict[str, list[str]] = {}
    for process, text in texts.items():
        family = ""
        for line in text.splitlines():
            if line.startswith("# "):
                family = _family(line) or family
                known = heads.setdefault(family, [])
                if line not in known:
                    known.append(line)
            elif line:
                samples.setdefault(family, []).append(_labelled(line, process))
    lines = [line for family in heads | samples for line in (*heads.get(family, ()), *samples.get(family, ()))]
    return "".join(f"{line}\n" for line in lines)


def _family(line: str) -> str:
    words = line.split(" ", 3)
    return words[2] if len(words) > 2 and words[1] in ("HELP", "TYPE") else ""


def _labelled(sample: str, process: str) -> str:
    """`name{a="b"} 1` or `name 1` with one label more."""
    name, brace, rest = sample.partition("{")
    if brace and " " not in name:
        return (
            f'{name}{{{LABEL}="{process}",{rest}' if not rest.startswith("}") else f'{name}{{{LABEL}="{process}"{rest}'
        )
    name, _, value = sample.partition(" ")
    return f'{name}{{{LABEL}="{process}"}} {value}'


def merged_health(state: str, answers: Mapping[str, bytes | None]) -> dict[str, Any]:
    """The bodies of /health/ready of all processes as one report, None for who does not answer.

    It is ready while one of them is, and not when the one that keeps them drains. A probe is as well as it is in the
    process where it is worst, which its text names.
    """
    reports = {process: _report(answer) for process, answer in answers.items()}
    ready = state != "draining" and any(report.get("ready") for report in reports.values())
    probes: dict[str, dict[str, Any]] = {}
    for process, report in reports.items():
        if not report:
            probes[f"process {process}"] = {"ok": False, "detail": "does not answer", "ms": 0.0}
        for name, probe in report.get("probes", {}).items():
            if name not in probes or (probes[name]["ok"] and not probe["ok"]):
                told = probe["detail"] if probe["ok"] else f"{probe['detail']} (process {process})"
                probes[name] = {**probe, "detail": told}
    states = {report.get("state", "starting") for report in reports.values()}
    return {
        "node": next((report["node"] for report in reports.values() if report), "auto"),
        "ready": ready,
        "state": state if state == "draining" else "ready" if "ready" in states else "starting",
        "probes": probes,
        "processes": {
            process: {key: report[key] for key in ("boot", "ready", "state")} if report else {"ready": False}
            for process, report in reports.items()
        },
    }


def _report(answer: bytes | None) -> dict[str, Any]:
    try:
        found = json.loads(answer or b"{}")
    except ValueError:
        return {}
    return found if isinstance(found, dict) and {"node", "boot", "ready", "state", "probes"} <= found.keys() else {}
