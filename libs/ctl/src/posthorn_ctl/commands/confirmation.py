"""Asks before something is removed for good; on a terminal only, so that scripts go on."""

import sys
from typing import Annotated

import typer

YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask on a terminal.")]


def confirm(question: str, *, yes: bool) -> None:
    """Ends the command with exit code 1 when the person says no."""
    if not yes and sys.stdin.isatty():
        typer.confirm(question, abort=True)
