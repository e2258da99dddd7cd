"""What every command owes its reader: help with an example that names it, and answers as JSON."""

from collections.abc import Iterator

import pytest
import typer
from typer.testing import CliRunner

from posthorn_ctl.__main__ import app


def commands(group: typer.Typer, *path: str) -> Iterator[tuple[str, ...]]:
    for info in group.registered_commands:
        assert info.name is not None
        yield (*path, info.name)
    for sub in group.registered_groups:
        assert sub.typer_instance is not None
        assert sub.name is not None
        yield from commands(sub.typer_instance, *path, sub.name)


@pytest.mark.parametrize("words", list(commands(app)), ids=" ".join)
def test_a_command_has_an_example_and_speaks_json(words: tuple[str, ...]) -> None:
    told = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "200"})
    assert told.exit_code == 0
    example = told.output.partition("Example: ")[2]
    assert f"posthorn {' '.join(words)}" in example
    assert "--json" in told.output


def test_the_version_is_told() -> None:
    told = CliRunner().invoke(app, ["--version"])
    assert (told.exit_code, told.output) == (0, "posthorn 0.1.0\n")
