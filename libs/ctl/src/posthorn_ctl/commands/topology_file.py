"""The argument of the topology commands: a description, or a folder that holds one."""

from pathlib import Path
from typing import Annotated

import typer

NAME = "topology.toml"
TopologyArgument = Annotated[Path, typer.Argument(help="topology.toml, or the folder it lies in.", show_default=False)]


def file_of(path: Path) -> Path:
    """The description's own path."""
    return path / NAME if path.is_dir() else path
