"""`posthorn stop`: end the cluster of a data folder."""

import json
from typing import Annotated

import typer

from posthorn_ctl.cluster.folder import at
from posthorn_ctl.cluster.running import stop as stop_cluster
from posthorn_ctl.commands.data_option import DEFAULT_DATA, DataOption

EPILOG = "Example: posthorn stop --data ./data"


def stop(
    *, data: DataOption = DEFAULT_DATA, as_json: Annotated[bool, typer.Option("--json", help="As JSON.")] = False
) -> None:
    """Stop a cluster and wait until nothing of it runs. A cluster that does not run is no error."""
    stopped = stop_cluster(at(data))
    if as_json:
        print(json.dumps({"stopped": stopped}))
    else:
        print("stopped" if stopped else f"no cluster was running on {at(data).path}")
