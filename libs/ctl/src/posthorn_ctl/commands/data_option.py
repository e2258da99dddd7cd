"""The option --data, the same for every command that speaks of a local cluster."""

from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[Path, typer.Option("--data", help="Data folder of the cluster.")]
DEFAULT_DATA = Path("data")
