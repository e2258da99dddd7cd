"""`posthorn demo`: real clients against a running cluster, each step with its time; fails when a step fails."""

import json
import time
from pathlib import Path
from typing import Annotated

import typer

from posthorn_ctl.commands.data_option import DEFAULT_DATA, DataOption

EPILOG = "Example: posthorn demo --data ./data"


def demo(
    *,
    data: DataOption = DEFAULT_DATA,
    cluster_json: Annotated[
        Path | None, typer.Option("--cluster-json", help="The description of a cluster, instead of --data.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False,
) -> None:
    """Show a message travel through a cluster: sent, seen on another node, read, filed, answered; then lose a node."""
    from posthorn_ctl.demo.story import Step, Story
    from posthorn_ctl.demo.target import load

    steps: list[Step] = []

    def tell(step: Step) -> None:
        steps.append(step)
        if not as_json:
            print(f"{step.milliseconds:9.1f} ms  {step.text}", flush=True)

    begun = time.perf_counter()
    Story(load(cluster_json or data / "cluster.json"), tell).run()
    if as_json:
        print(json.dumps([{"step": step.text, "milliseconds": round(step.milliseconds, 1)} for step in steps]))
    else:
        print(f"all {len(steps)} steps shown in {time.perf_counter() - begun:.1f} s")
