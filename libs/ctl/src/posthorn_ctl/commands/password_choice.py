"""Where a new password comes from: the option, standard input, the terminal, or made up."""

import secrets
import sys
from typing import Annotated

import typer

PasswordOption = Annotated[
    str | None,
    typer.Option(
        "--password",
        help="The password; - reads one line of standard input. Without it: asked for on a terminal, else made up.",
    ),
]


def chosen(option: str | None, address: str) -> tuple[str, bool]:
    """The password, and whether it was made up and must be shown."""
    if option == "-":
        return sys.stdin.readline().rstrip("\r\n"), False
    if option is not None:
        return option, False
    if sys.stdin.isatty():
        text: str = typer.prompt(f"Password for {address}", hide_input=True, confirmation_prompt=True)
        return text, False
    return secrets.token_urlsafe(12), True
