"""How long `posthorn up --detach` takes on a folder that exists. Reference: PostgreSQL alone, started and stopped."""

import tempfile
import time
from pathlib import Path

from bench.cluster import command
from bench.runner import Row


def rows(folder: Path) -> list[Row]:
    """The row; the cluster of the other rows must not run meanwhile."""

    async def measure() -> float:
        begun = time.perf_counter()
        await command("up", "--detach", "--data", str(folder))
        taken = time.perf_counter() - begun
        await command("stop", "--data", str(folder))
        return taken

    return [Row("posthorn up, later starts", "s", False, measure, None, "", 3, "PostgreSQL, Kafka and six services")]


def new_folder() -> Path:
    """A folder for the row."""
    return Path(tempfile.mkdtemp(prefix="posthorn-start-")) / "data"
