"""A running embedded cluster for the rows: started by the real command, stopped by it."""

import asyncio
import json
import sys
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

PROGRAM = Path(sys.executable).parent / "posthorn"


@dataclass(frozen=True, slots=True)
class Cluster:
    """What cluster.json says."""

    folder: Path
    description: dict[str, Any]

    def address(self, protocol: str, node: int | None = None) -> tuple[str, int]:
        """Host and port of an endpoint."""
        for found in self.description["endpoints"]:
            if found["protocol"] == protocol and node in (None, found["node"]):
                return found["host"], found["port"]
        raise LookupError(f"no endpoint for {protocol}")

    @property
    def accounts(self) -> list[tuple[str, str]]:
        """Names and passwords."""
        return [(account["name"], account["password"]) for account in self.description["accounts"]]

    @property
    def dsn(self) -> str:
        """Of the database."""
        return str(self.description["postgres"]["dsn"])

    @property
    def kafka(self) -> str:
        """host:port of the broker."""
        return str(self.description["bus"]["servers"][0])


async def command(*arguments: str) -> str:
    """Run the posthorn command; returns what it printed. Raises RuntimeError when it fails."""
    process = await asyncio.create_subprocess_exec(
        str(PROGRAM), *arguments, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
    )
    output, _ = await process.communicate()
    text = output.decode(errors="replace")
    if process.returncode:
        raise RuntimeError(f"posthorn {' '.join(arguments)} ended with {process.returncode}:\n{text[-4000:]}")
    return text


@asynccontextmanager
async def running(*options: str) -> AsyncIterator[Cluster]:
    """A cluster in a temporary folder."""
    with tempfile.TemporaryDirectory(prefix="posthorn-bench-") as name:
        folder = Path(name) / "data"
        await command("up", "--detach", "--data", str(folder), *options)
        try:
            yield Cluster(folder, json.loads((folder / "cluster.json").read_text()))
        finally:
            await command("stop", "--data", str(folder))
