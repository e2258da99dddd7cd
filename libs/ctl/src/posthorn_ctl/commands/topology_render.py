"""`posthorn topology render`: the files of a topology for orchestrators and balancers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated

import typer

from posthorn_ctl.cluster.errors import ClusterError
from posthorn_ctl.commands.topology_file import TopologyArgument, file_of

EPILOG = "Example: posthorn topology render deploy/topologies/paired --form compose --form haproxy"


def render(
    topology: TopologyArgument,
    *,
    to: Annotated[Path | None, typer.Option(help="Folder to write to; default: the description's.")] = None,
    form: Annotated[
        list[str] | None,
        typer.Option(help="compose, swarm, helm-values, marathon, haproxy, nginx, processes; default: all."),
    ] = None,
    data: Annotated[
        Path | None, typer.Option(help="haproxy, nginx: servers are those of the cluster in this data folder.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the paths as JSON.")] = False,
) -> None:
    """Write the files of a topology, each form in a folder of its own. Files that are there are replaced."""
    from posthorn_ctl.cluster.folder import at
    from posthorn_ctl.cluster.running import content_of
    from posthorn_ctl.topology import description, front
    from posthorn_ctl.topology import render as forms

    wanted = form or list(forms.FORMS if data is None else forms.BALANCERS)
    known = forms.FORMS if data is None else forms.BALANCERS
    unknown = [name for name in wanted if name not in known]
    if unknown:
        raise ClusterError(f"--form {unknown[0]}: choose {', '.join(known)}", code=2)
    found = description.read(file_of(topology))
    folder = to or file_of(topology).parent
    files: forms.Files = {}
    for name in wanted:
        if data is None:
            files |= forms.rendered(found, name, forms.place_of(folder))
        else:
            content = content_of(at(data))
            files |= forms.fronts(found, name, lambda region: front.of_running(found, region, content))  # noqa: B023
    paths = forms.write(files, folder)
    print(json.dumps([str(path) for path in paths]) if as_json else "\n".join(str(path) for path in paths))
