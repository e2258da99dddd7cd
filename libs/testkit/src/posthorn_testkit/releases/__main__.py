"""`python -m posthorn_testkit.releases FILE`: records this release on a PostgreSQL of its own."""

import asyncio
import sys
import tempfile
from pathlib import Path

import posthorn_storage
from posthorn_storage.migrate import migrate
from posthorn_storage.version import known_revisions
from posthorn_testkit.databases import with_database
from posthorn_testkit.releases.recording import recorded, text_of
from posthorn_testkit.releases.scenario import play
from posthorn_testkit.servers import postgres_server


async def record(dsn: str) -> str:
    """Migrate the empty database at `dsn`, play the scenario on it; returns the recording."""
    await migrate(dsn)
    with recorded() as recording, tempfile.TemporaryDirectory() as folder:
        await play(dsn, Path(folder), recording.step)
    return await text_of(recording, dsn, posthorn_storage, known_revisions()[0])


if __name__ == "__main__":
    with postgres_server() as server:
        Path(sys.argv[1]).write_text(asyncio.run(record(with_database(server, "postgres"))), encoding="utf-8")
