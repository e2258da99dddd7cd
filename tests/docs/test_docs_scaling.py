"""docs/scaling.md and compose.yaml: PostgreSQL takes their settings, and the matrix is what the command says."""

import re
from pathlib import Path

import asyncpg
import pytest
import yaml

from posthorn_ctl.embedded.errors import PartError
from posthorn_ctl.plan import guide, report
from posthorn_ctl.plan.measured import measured
from posthorn_ctl.plan.sizing import Load, plan
from posthorn_testkit.servers import postgres_server
from posthorn_testkit.strict import missing

ROOT = Path(__file__).parents[2]
SCALING = (ROOT / "docs" / "scaling.md").read_text()
COMPOSE = ROOT / "compose.yaml"
NOT_EMBEDDED = {"default_toast_compression"}
"""What the image of compose.yaml is built for and the embedded server is not."""
USERS = (500, 5_000, 20_000, 50_000, 100_000, 500_000)


def table(first: str) -> dict[str, list[str]]:
    """The rows of the table whose head begins so, by their first cell."""
    lines = SCALING.partition(f"| {first} |")[2].splitlines()[2:]
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines[: lines.index("")]]
    return {row[0].strip("`"): row[1:] for row in rows}


def of_compose() -> dict[str, str]:
    """The settings of compose.yaml's PostgreSQL with their defaults."""
    command = yaml.safe_load(COMPOSE.read_text())["services"]["postgres"]["command"]
    found = re.findall(r"-c (\w+)=(?:\$\{\w+:-)?([^\s}]+)", command)
    return dict(found)


@pytest.mark.postgres
@pytest.mark.parametrize("source", ["scaling", "compose"])
async def test_postgresql_starts_with_the_settings(source: str) -> None:
    settings = {name: row[0] for name, row in table("setting").items()} if source == "scaling" else of_compose()
    settings = {name: value for name, value in settings.items() if name not in NOT_EMBEDDED}
    assert len(settings) >= 8
    try:
        with postgres_server(**settings) as dsn:
            connection = await asyncpg.connect(dsn)
            for name, value in settings.items():
                shown = await connection.fetchval("SELECT current_setting($1)", name)
                assert shown == value, name
            await connection.close()
    except PartError as error:
        missing(str(error))


def test_memory_is_shared_out_as_the_text_says() -> None:
    heads = re.search(r"\| setting \|(.*)\|", SCALING)
    assert heads is not None
    sizes = [int(match) for match in re.findall(r"(\d+) GB", heads[1])]
    rows = table("setting")
    assert [int(cell.removesuffix("GB")) * 4 for cell in rows["shared_buffers"]] == sizes
    assert [int(cell.removesuffix("GB")) * 4 for cell in rows["effective_cache_size"]] == [3 * size for size in sizes]


def test_every_variable_of_compose_is_documented() -> None:
    command = yaml.safe_load(COMPOSE.read_text())["services"]["postgres"]["command"]
    names = set(re.findall(r"\$\{(\w+)", command))
    assert names
    assert {name for name in names if f"`{name}`" not in SCALING} == set()


def row_for(users: int) -> list[str]:
    """A row of the matrix as the command answers."""
    found = plan(Load(users * 4, users, 1 << 30, 75 << 10, 0.3, 0.5), measured())
    database = f"{found.database.shards} x {found.database.cores_each} cores, {report.size(found.database.memory)}"
    return [
        f"{guide.instances(users * 4)}",
        f"{sum(need.processes for need in found.services.values())}",
        database,
        f"{found.database.replicas}",
        {"fs": "files", "s3": "S3"}[found.blob_store],
        found.coordinator,
        found.topology,
    ]


def test_the_matrix_is_what_the_command_says() -> None:
    assert table("users") == {f"{users:,}": row_for(users) for users in USERS}
